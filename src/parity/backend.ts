import type { Backend } from "../../numerics/backend.ts";
import { CpuBackend } from "../../numerics/cpu/backend.ts";
import { WasmBackend } from "../../numerics/wasm/backend.ts";
import { findOnnx } from "../../numerics/wasm/onnx.ts";
import { EnvironmentError } from "../base/errors.ts";
import { secondsOfProduct } from "./calibrate.ts";
import type { BackendChoice } from "./choices.ts";

export interface OpenedBackend {
  readonly backend: Backend;
  /** What `auto` tried first, and why it was not to be had. */
  readonly fallbackFrom?: string;
  readonly fallbackReason?: string;
  /** Why `auto` took this one of several. */
  readonly choice?: string;
}

export interface Work {
  readonly flops: number;
  /** Whether both backends may be held for a moment to see which is faster. */
  readonly mayMeasure: boolean;
}

/** One backend for several runs: it is opened by the first of them. */
export class SharedBackend {
  #opened: OpenedBackend | null = null;

  /** @throws EnvironmentError where the backend asked for cannot run here */
  async open(choice: BackendChoice, work: Work): Promise<OpenedBackend> {
    this.#opened ??= await openBackend(choice, work);
    return this.#opened;
  }

  async close(): Promise<void> {
    await this.#opened?.backend.close();
    this.#opened = null;
  }
}

/** FLOPs from which it pays to measure which is faster: less is done in half a minute on either. */
const WORTH_MEASURING = 1e12;

/**
 * `auto` takes WebGPU on a hardware adapter, WASM where there is none, and the faster of both on an adapter that computes
 * on the CPU (docs/decisions/008).
 * @throws EnvironmentError where the backend asked for cannot run here
 */
export async function openBackend(choice: BackendChoice, work: Work): Promise<OpenedBackend> {
  switch (choice) {
    case "cpu":
      return { backend: new CpuBackend() };
    case "webgpu":
      return { backend: await openWebGpu() };
    case "wasm":
      return { backend: openWasm() };
    case "auto":
      try {
        return await openAny(work);
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
async function openWebGpu(): Promise<Backend> {
  const { createWebGpuBackend } = await import("../../numerics/webgpu/backend.ts");
  return createWebGpuBackend();
}

async function openAny({ flops, mayMeasure }: Work): Promise<OpenedBackend> {
  const { describeAdapter } = await import("../../numerics/webgpu/device/adapter.ts");
  const { name, isFallback } = await describeAdapter();
  if (!isFallback) return { backend: await openWebGpu() };
  const onCpu = `the WebGPU adapter here (${name}) computes on the CPU`;
  const { library } = findOnnx();
  if (library !== null) return { backend: openWasm(), choice: `${onCpu}, where wasm with ${library.name} is faster` };
  const couldBe = `${onCpu}, where wasm is about as fast`;
  if (flops < WORTH_MEASURING || !mayMeasure) return { backend: openWasm(), choice: couldBe };
  return openFaster(onCpu);
}

/** Of this process's machine: it stays what it is. */
let measured: { readonly wasm: number; readonly webgpu: number } | undefined;

async function openFaster(onCpu: string): Promise<OpenedBackend> {
  const backends = { wasm: openWasm(), webgpu: await openWebGpu() };
  if (measured === undefined) {
    const [wasm = 0, webgpu = 0] = await secondsOfProduct([backends.wasm, backends.webgpu]);
    measured = { wasm, webgpu };
  }
  const { wasm, webgpu } = measured;
  const [taken, other] = wasm <= webgpu ? (["wasm", "webgpu"] as const) : (["webgpu", "wasm"] as const);
  await backends[other].close();
  const times = `a product takes ${(measured[taken] * 1e3).toFixed(0)} ms on ${taken}, ${(measured[other] * 1e3).toFixed(0)} ms on ${other}`;
  return { backend: backends[taken], choice: `${onCpu}; ${times}` };
}
