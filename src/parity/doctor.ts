// What a parity run finds on this machine: Node.js, memory, backends and their adapters.
import { statfsSync } from "node:fs";
import { availableParallelism, freemem, tmpdir, totalmem } from "node:os";
import { findOnnx } from "../../numerics/wasm/onnx.ts";
import { describeMatrices } from "../../numerics/webgpu/backend.ts";
import { describeAdapter } from "../../numerics/webgpu/device/adapter.ts";
import type { AdapterDescription, MatrixUse } from "../../numerics/webgpu/device/description.ts";
import { EnvironmentError } from "../base/errors.ts";
import { LEAST_NODE, VERSION } from "../base/version.ts";
import type { Adapter } from "../family/adapter.ts";
import { loadSharp } from "./images/decode.ts";

export type GpuDiagnosis = ({ readonly available: true; readonly matrices: MatrixUse } & AdapterDescription) | Missing;

interface Missing {
  readonly available: false;
  readonly reason: string;
  readonly help: string;
}

/** The JSON document of `doctor` (CONTRACT). Sizes are in bytes. */
export interface Diagnosis {
  /** A missing GPU is a finding, not a failure. */
  readonly verdict: "pass" | "fail";
  readonly convertCheckpoint: string;
  readonly node: string;
  readonly v8: string;
  readonly platform: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly freeMemoryBytes: number;
  readonly freeDiskBytes: { readonly here: number; readonly temporary: number };
  readonly backends: {
    readonly webgpu: GpuDiagnosis;
    /** Every Node.js that runs this has SIMD and shared memory. */
    readonly wasm: { readonly available: true } & ({ readonly library: string } | { readonly noLibrary: string });
    readonly cpu: { readonly available: true };
  };
  /** Whether image files can be read. */
  readonly images: { readonly available: true } | Missing;
  /** Names of families. */
  readonly adapters: readonly string[];
}

/** @param adapters whose names the document lists */
export async function doctor(adapters: readonly Adapter[]): Promise<Diagnosis> {
  const found = findOnnx();
  return {
    verdict: isNodeNewEnough(process.versions.node) ? "pass" : "fail",
    convertCheckpoint: VERSION,
    node: process.versions.node,
    v8: process.versions.v8,
    platform: `${process.platform} ${process.arch}`,
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    freeMemoryBytes: freemem(),
    freeDiskBytes: { here: freeDisk("."), temporary: freeDisk(tmpdir()) },
    backends: {
      webgpu: await orMissing(findGpu),
      wasm: { available: true, ...(found.library ? { library: found.library.name } : { noLibrary: found.reason }) },
      cpu: { available: true },
    },
    images: await orMissing(async () => {
      await loadSharp();
      return { available: true };
    }),
    adapters: adapters.map(({ family }) => family),
  };
}

function freeDisk(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}

function isNodeNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [leastMajor = 0, leastMinor = 0] = LEAST_NODE.split(".").map(Number);
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}

async function findGpu(): Promise<GpuDiagnosis> {
  return { available: true, ...(await describeAdapter()), matrices: await describeMatrices() };
}

/** What the machine has, or what it lacks for that. */
async function orMissing<T>(find: () => Promise<T>): Promise<T | Missing> {
  try {
    return await find();
  } catch (error) {
    if (!(error instanceof EnvironmentError)) throw error;
    return { available: false, reason: error.message, help: error.details.help };
  }
}
