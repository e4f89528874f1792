import type { Backend } from "../../numerics/backend.ts";
import { CpuBackend } from "../../numerics/cpu/backend.ts";
import { WasmBackend } from "../../numerics/wasm/backend.ts";
import { findOnnx } from "../../numerics/wasm/onnx.ts";
import { EnvironmentError } from "../base/errors.ts";
import type { BackendChoice } from "./choices.ts";

export interface OpenedBackend {
  readonly backend: Backend;
  /** What `auto` tried first, and why it was not taken. */
  readonly fallbackFrom?: string;
  readonly fallbackReason?: string;
  /** What would be faster here. */
  readonly hint?: string;
}

/** FLOPs from which a hint at a faster backend is worth its line: seconds, where it matters. */
const WORTH_A_HINT = 1e11;

/**
 * @param flops of the work to come
 * @throws EnvironmentError where the backend asked for cannot run here; `auto` takes WASM instead of WebGPU then
 */
export async function openBackend(choice: BackendChoice, flops: number): Promise<OpenedBackend> {
  switch (choice) {
    case "cpu":
      return { backend: new CpuBackend() };
    case "webgpu":
      return { backend: await openWebGpu() };
    case "wasm":
      return { backend: openWasm() };
    case "auto":
      try {
        return await openAnyWebGpu(flops);
      } catch (error) {
        if (!(error instanceof EnvironmentError)) throw error;
        return { backend: openWasm(), fallbackFrom: "webgpu", fallbackReason: error.message };
      }
    default:
      throw choice satisfies never;
  }
}

const openWasm = (): Backend => new WasmBackend({ library: findOnnx().library });

/** Loaded only when asked for: the native library takes a while to start. */
async function openWebGpu() {
  const { createWebGpuBackend } = await import("../../numerics/webgpu/backend.ts");
  return createWebGpuBackend();
}

async function openAnyWebGpu(flops: number): Promise<OpenedBackend> {
  const backend = await openWebGpu();
  const library = backend.isSoftware && flops >= WORTH_A_HINT ? findOnnx().library : null;
  if (library === null) return { backend };
  return { backend, hint: `this adapter computes on the CPU, where --backend wasm with ${library.name} is faster` };
}
