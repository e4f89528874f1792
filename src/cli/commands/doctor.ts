import type { Check } from "../../report/document.ts";
import { formatBytes } from "../../report/units.ts";
import { VERSION } from "../../version.ts";
import type { Command } from "../command.ts";

/** Backends, adapters, limits and versions found on this machine. A missing GPU is a finding, not a failure. */
export const doctor: Command = {
  usage: "doctor",
  describe: "Backends, adapters, limits, versions found on this machine",
  positionals: {},
  options: {},
  examples: [],
  async run() {
    const [{ availableParallelism, freemem, totalmem, tmpdir }, { statfsSync }, { adapters }, { describeAdapter }] =
      await Promise.all([
        import("node:os"),
        import("node:fs"),
        import("../../../adapters/registry.ts"),
        import("../../../numerics/webgpu/adapter.ts"),
      ]);
    const gpu = await probe(describeAdapter);
    const disk = (path: string) => {
      const { bavail, bsize } = statfsSync(path);
      return bavail * bsize;
    };
    const machine = {
      convertCheckpoint: VERSION,
      node: process.versions.node,
      v8: process.versions.v8,
      platform: `${process.platform} ${process.arch}`,
      cores: availableParallelism(),
      memoryBytes: totalmem(),
      freeMemoryBytes: freemem(),
      freeDiskBytes: { here: disk("."), temporary: disk(tmpdir()) },
    };
    const webgpu = "value" in gpu ? { available: true, ...gpu.value } : { available: false, ...gpu.failure };
    const checks: Check[] = [
      { name: "Node.js >= 20.19", ...nodeStatus() },
      { name: "backend cpu", status: "pass", detail: "f64 reference" },
      "value" in gpu
        ? { name: "backend webgpu", status: "pass", detail: gpuLine(gpu.value) }
        : { name: "backend webgpu", status: "skipped", detail: `${gpu.failure.reason}; ${gpu.failure.help}` },
    ];
    const failed = checks.some(({ status }) => status === "fail");
    return {
      json: {
        verdict: failed ? "fail" : "pass",
        ...machine,
        backends: { cpu: { available: true }, webgpu },
        adapters: adapters.map(({ family }) => family),
      },
      document: {
        command: "doctor",
        verdict: failed ? "fail" : "pass",
        headline: "value" in gpu ? "parity runs on the GPU" : "no GPU: parity runs on the CPU",
        facts: [
          { label: "convert-checkpoint", value: VERSION },
          { label: "Node.js", value: `${process.versions.node} (V8 ${process.versions.v8})` },
          { label: "platform", value: `${machine.platform}, ${machine.cores} cores` },
          {
            label: "memory",
            value: `${formatBytes(machine.freeMemoryBytes)} free of ${formatBytes(machine.memoryBytes)}`,
          },
          { label: "disk", value: `${formatBytes(machine.freeDiskBytes.here)} free here` },
          { label: "families", value: adapters.map(({ family }) => family).join(", ") },
        ],
        checks,
        tables:
          "value" in gpu
            ? [
                {
                  title: "WebGPU limits",
                  columns: [{ name: "limit" }, { name: "bytes", align: "right" }],
                  rows: Object.entries(gpu.value.limits).map(([name, bytes]) => [name, String(bytes)]),
                },
              ]
            : [],
        notes: [],
      },
    };
  },
};

function nodeStatus(): Pick<Check, "status" | "detail"> {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const ok = major > 20 || (major === 20 && minor >= 19);
  return { status: ok ? "pass" : "fail", detail: process.versions.node };
}

interface GpuFailure {
  readonly reason: string;
  readonly help: string;
}

async function probe<T>(find: () => Promise<T>): Promise<{ readonly value: T } | { readonly failure: GpuFailure }> {
  const { EnvironmentError } = await import("../../errors.ts");
  try {
    return { value: await find() };
  } catch (error) {
    if (error instanceof EnvironmentError) return { failure: { reason: error.message, help: error.details.help } };
    throw error;
  }
}

const gpuLine = (gpu: { name: string; kernels: string; isFallback: boolean }): string =>
  `${gpu.name}${gpu.isFallback ? " (software)" : ""}, ${gpu.kernels} kernels`;
