import type { Check } from "../../base/check.ts";
import { installLine } from "../../base/optional-packages.ts";
import { LEAST_NODE } from "../../base/version.ts";
import type { Diagnosis, GpuDiagnosis } from "../../parity/doctor.ts";
import type { Fact, ReportDocument, Table } from "../document.ts";
import { formatBytes } from "../units.ts";

export function doctorDocument(diagnosis: Diagnosis): ReportDocument {
  const { verdict, backends } = diagnosis;
  const { webgpu } = backends;
  return {
    title: "doctor",
    data: diagnosis,
    verdict,
    headline: headline(webgpu),
    facts: facts(diagnosis),
    checks: checks(diagnosis),
    tables: webgpu.available ? [limitTable(webgpu.limits)] : [],
    notes: [],
  };
}

function headline(gpu: GpuDiagnosis): string {
  if (!gpu.available) return "no GPU: parity runs on the CPU";
  return gpu.isFallback ? "parity runs on WebGPU, by a driver on the CPU" : "parity runs on the GPU";
}

const facts = (found: Diagnosis): Fact[] => [
  { label: "convert-checkpoint", value: found.convertCheckpoint },
  { label: "Node.js", value: `${found.node} (V8 ${found.v8})` },
  { label: "platform", value: `${found.platform}, ${found.cores} cores` },
  { label: "memory", value: `${formatBytes(found.freeMemoryBytes)} free of ${formatBytes(found.memoryBytes)}` },
  { label: "disk", value: `${formatBytes(found.freeDiskBytes.here)} free here` },
  { label: "families", value: found.adapters.join(", ") },
];

function checks({ verdict, node, cores, images, backends: { webgpu, wasm } }: Diagnosis): Check[] {
  const library =
    "library" in wasm
      ? `matrix products by ${wasm.library}`
      : `${wasm.noLibrary}, with it matrix products are several times as fast: ${installLine("onnxruntime-node")}`;
  return [
    { name: `Node.js >= ${LEAST_NODE}`, status: verdict === "pass" ? "passed" : "failed", detail: node },
    { name: "backend wasm", status: "passed", detail: `f32, ${cores} threads; ${library}` },
    { name: "backend cpu", status: "passed", detail: "f64 reference" },
    webgpu.available
      ? { name: "backend webgpu", status: "passed", detail: gpuText(webgpu) }
      : { name: "backend webgpu", status: "not checked", detail: `${webgpu.reason}; ${webgpu.help}` },
    images.available
      ? { name: "images", status: "passed", detail: "PNG and JPEG files, by sharp" }
      : { name: "images", status: "not checked", detail: `${images.reason}; ${images.help}` },
  ];
}

function gpuText({ name, isFallback, kernels, matrices }: Extract<GpuDiagnosis, { available: true }>): string {
  const units =
    "shape" in matrices
      ? `subgroup matrices ${matrices.shape.M}x${matrices.shape.N}x${matrices.shape.K}`
      : `no subgroup matrices (${matrices.unused})`;
  return `${name}${isFallback ? " (software)" : ""}, ${kernels} kernels, ${units}`;
}

const limitTable = (limits: Extract<GpuDiagnosis, { available: true }>["limits"]): Table => ({
  title: "WebGPU limits",
  columns: [{ name: "limit" }, { name: "bytes", align: "right" }],
  rows: Object.entries(limits).map(([name, bytes]) => [name, String(bytes)]),
});
