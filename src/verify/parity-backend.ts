import type { Backend } from "../../numerics/backend.ts";
import { CpuBackend } from "../../numerics/cpu/backend.ts";
import { WasmBackend } from "../../numerics/wasm/backend.ts";
import { findLibrary } from "../../numerics/wasm/library.ts";
import { EnvironmentError } from "../errors.ts";

export type BackendChoice = "auto" | "webgpu" | "wasm" | "cpu";

export interface OpenedBackend {
  readonly backend: Backend;
  /** What `auto` tried first, and why it was not taken. */
  readonly fallbackFrom?: string;
  readonly fallbackReason?: string;
}

/** @throws EnvironmentError where the backend asked for cannot run here; `auto` takes WASM instead of WebGPU then */
export async function openBackend(choice: BackendChoice): Promise<OpenedBackend> {
  switch (choice) {
    case "cpu":
      return { backend: new CpuBackend() };
    case "webgpu":
      return { backend: await openWebGpu() };
    case "wasm":
      return { backend: openWasm() };
    case "auto":
      try {
        return { backend: await openWebGpu() };
      } catch (error) {
        if (!(error instanceof EnvironmentError)) throw error;
        return { backend: openWasm(), fallbackFrom: "webgpu", fallbackReason: error.message };
      }
    default:
      throw choice satisfies never;
  }
}

const openWasm = (): Backend => new WasmBackend({ library: findLibrary().library });

/** Loaded only when asked for: the native library takes a while to start. */
async function openWebGpu(): Promise<Backend> {
  const { createWebGpuBackend } = await import("../../numerics/webgpu/backend.ts");
  return createWebGpuBackend();
}
