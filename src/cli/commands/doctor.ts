import type { OnnxSearch } from "../../../numerics/wasm/onnx.ts";
import type { AdapterDescription } from "../../../numerics/webgpu/device/adapter.ts";
import type { MatrixUse } from "../../../numerics/webgpu/device/matrices.ts";
import { VERSION } from "../../base/version.ts";
import type { Check, ReportDocument, Table } from "../../report/document.ts";
import { formatBytes } from "../../report/units.ts";
import type { Command } from "../command.ts";

/** Backends, adapters, limits and versions found on this machine. A missing GPU is a finding, not a failure. */
export const doctor: Command = {
  usage: "doctor",
  describe: "Backends, adapters, limits, versions found on this machine",
  positionals: {},
  options: {},
  examples: [],
  async run() {
    const [{ adapters }, { describeAdapter }, { describeMatrices }, { findOnnx }] = await Promise.all([
      import("../../../adapters/registry.ts"),
      import("../../../numerics/webgpu/device/adapter.ts"),
      import("../../../numerics/webgpu/backend.ts"),
      import("../../../numerics/wasm/onnx.ts"),
    ]);
    const gpu = await probe(async () => ({ ...(await describeAdapter()), matrices: await describeMatrices() }));
    const machine = await describeMachine();
    const families = adapters.map(({ family }) => family);
    const webgpu = "value" in gpu ? { available: true, ...gpu.value } : { available: false, ...gpu.failure };
    const found = findOnnx();
    // Every Node.js that runs this has SIMD and shared memory.
    const wasm = {
      available: true,
      ...(found.library ? { library: found.library.name } : { noLibrary: found.reason }),
    };
    const checks = checksOf(gpu, wasmLine(machine.cores, found));
    const verdict = checks.some(({ status }) => status === "fail") ? "fail" : "pass";
    return {
      json: { verdict, ...machine, backends: { webgpu, wasm, cpu: { available: true } }, adapters: families },
      document: {
        command: "doctor",
        verdict,
        headline: headlineOf(gpu),
        facts: [...factsOf(machine), { label: "families", value: families.join(", ") }],
        checks,
        tables: "value" in gpu ? [limitTable(gpu.value.limits)] : [],
        notes: [],
      },
    };
  },
};

async function describeMachine() {
  const [{ availableParallelism, freemem, totalmem, tmpdir }, { statfsSync }] = await Promise.all([
    import("node:os"),
    import("node:fs"),
  ]);
  const disk = (path: string) => {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  };
  return {
    convertCheckpoint: VERSION,
    node: process.versions.node,
    v8: process.versions.v8,
    platform: `${process.platform} ${process.arch}`,
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    freeMemoryBytes: freemem(),
    freeDiskBytes: { here: disk("."), temporary: disk(tmpdir()) },
  };
}

function factsOf(machine: Awaited<ReturnType<typeof describeMachine>>): ReportDocument["facts"] {
  return [
    { label: "convert-checkpoint", value: machine.convertCheckpoint },
    { label: "Node.js", value: `${machine.node} (V8 ${machine.v8})` },
    { label: "platform", value: `${machine.platform}, ${machine.cores} cores` },
    { label: "memory", value: `${formatBytes(machine.freeMemoryBytes)} free of ${formatBytes(machine.memoryBytes)}` },
    { label: "disk", value: `${formatBytes(machine.freeDiskBytes.here)} free here` },
  ];
}

interface GpuFinding extends AdapterDescription {
  readonly matrices: MatrixUse;
}

function checksOf(gpu: Probed<GpuFinding>, wasm: string): Check[] {
  return [
    { name: "Node.js >= 20.19", ...nodeStatus() },
    { name: "backend wasm", status: "pass", detail: wasm },
    { name: "backend cpu", status: "pass", detail: "f64 reference" },
    "value" in gpu
      ? { name: "backend webgpu", status: "pass", detail: gpuLine(gpu.value) }
      : { name: "backend webgpu", status: "skipped", detail: `${gpu.failure.reason}; ${gpu.failure.help}` },
  ];
}

function headlineOf(gpu: Probed<GpuFinding>): string {
  if (!("value" in gpu)) return "no GPU: parity runs on the CPU";
  return gpu.value.isFallback ? "parity runs on WebGPU, by a driver on the CPU" : "parity runs on the GPU";
}

const limitTable = (limits: AdapterDescription["limits"]): Table => ({
  title: "WebGPU limits",
  columns: [{ name: "limit" }, { name: "bytes", align: "right" }],
  rows: Object.entries(limits).map(([name, bytes]) => [name, String(bytes)]),
});

function nodeStatus(): Pick<Check, "status" | "detail"> {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const ok = major > 20 || (major === 20 && minor >= 19);
  return { status: ok ? "pass" : "fail", detail: process.versions.node };
}

interface GpuFailure {
  readonly reason: string;
  readonly help: string;
}

type Probed<T> = { readonly value: T } | { readonly failure: GpuFailure };

async function probe<T>(find: () => Promise<T>): Promise<Probed<T>> {
  const { EnvironmentError } = await import("../../base/errors.ts");
  try {
    return { value: await find() };
  } catch (error) {
    if (error instanceof EnvironmentError) return { failure: { reason: error.message, help: error.details.help } };
    throw error;
  }
}

const wasmLine = (cores: number, found: OnnxSearch): string =>
  `f32, ${cores} threads; ${found.library ? `matrix products by ${found.library.name}` : `${found.reason}, with it matrix products are several times as fast`}`;

function gpuLine({ name, isFallback, kernels, matrices }: GpuFinding): string {
  const units =
    "shape" in matrices
      ? `subgroup matrices ${matrices.shape.M}x${matrices.shape.N}x${matrices.shape.K}`
      : `no subgroup matrices (${matrices.unused})`;
  return `${name}${isFallback ? " (software)" : ""}, ${kernels} kernels, ${units}`;
}
