// A WebGPU device whose errors reach the caller: Dawn reports them on the side, never from the call that caused them.
import { EnvironmentError } from "../../../src/base/errors.ts";
import { adapterName, kernelsFor, matrixFeatures, matrixShapeOf, requestAdapter, subgroupSizes } from "./adapter.ts";
import type { KernelFamily } from "./description.ts";
import { awaitGpu } from "./polling.ts";

/** Buffer usages, https://www.w3.org/TR/webgpu/#buffer-usage; Dawn defines `GPUBufferUsage` in its own module only. */
export const usage = { mapRead: 0x01, copySrc: 0x04, copyDst: 0x08, uniform: 0x40, storage: 0x80 } as const;

/** A command that WebGPU refused: a defect of this backend, not of the input. */
export class GpuError extends Error {
  override readonly name = "GpuError";
}

const scopes = ["out-of-memory", "internal", "validation"] as const;

const wantedLimits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
] as const;

export class Device {
  readonly gpu: GPUDevice;
  readonly name: string;
  /** An adapter that runs on the CPU. */
  readonly isSoftware: boolean;
  readonly kernels: KernelFamily;
  readonly subgroupSize: number;
  #failure: Error | undefined;

  private constructor(gpu: GPUDevice, adapter: GPUAdapter) {
    this.gpu = gpu;
    this.name = adapterName(adapter);
    this.isSoftware = adapter.info.isFallbackAdapter;
    this.kernels = kernelsFor(adapter);
    this.subgroupSize = subgroupSizes(adapter)[0];
    gpu.addEventListener("uncapturederror", (event) => this.#note(event.error));
    void gpu.lost.then((info) => {
      this.#failure ??= lost(info.message || info.reason);
    });
    this.#openScopes();
  }

  /** Opens an adapter with all it offers. @throws EnvironmentError NO_GPU_ADAPTER, WEBGPU_NOT_LOADABLE, GPU_DEVICE_REFUSED. */
  static async open(given?: GPUAdapter): Promise<Device> {
    const adapter = given ?? (await requestAdapter());
    const requiredLimits = Object.fromEntries(wantedLimits.map((name) => [name, adapter.limits[name]]));
    const wanted = ["subgroups", ...(matrixShapeOf(adapter) ? matrixFeatures : [])];
    const requiredFeatures = wanted.filter((name) => adapter.features.has(name)) as GPUFeatureName[];
    try {
      return new Device(await awaitGpu(adapter.requestDevice({ requiredLimits, requiredFeatures })), adapter);
    } catch (cause) {
      throw new EnvironmentError("GPU_DEVICE_REFUSED", `${adapterName(adapter)} gives no device: ${messageOf(cause)}`, {
        help: "another program may hold the GPU; try again, or take --backend wasm",
        cause,
      });
    }
  }

  /**
   * Resolves when all that was submitted so far is done. Never rejects: failures are kept for `throwIfFailed`.
   * Error scopes are always open; this closes them and opens the next.
   */
  async drained(): Promise<void> {
    const reports = scopes.map(() => this.gpu.popErrorScope());
    this.#openScopes();
    const done = this.gpu.queue.onSubmittedWorkDone();
    for (const result of await Promise.allSettled([...reports, done])) {
      if (result.status === "rejected") this.#failure ??= lost(messageOf(result.reason));
      else if (result.value) this.#note(result.value);
    }
  }

  /** Awaits all that was submitted so far. @throws GpuError; EnvironmentError GPU_OUT_OF_MEMORY, GPU_LOST. */
  async settle(): Promise<void> {
    await awaitGpu(this.drained());
    this.throwIfFailed();
  }

  /** A device that failed once stays failed: what it computed since cannot be trusted. */
  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  close(): void {
    this.#failure ??= new Error("the WebGPU backend is closed");
    this.gpu.destroy();
  }

  #openScopes(): void {
    for (const scope of scopes) this.gpu.pushErrorScope(scope);
  }

  #note(error: GPUError): void {
    if (this.#failure !== undefined) return;
    const isMemory = error.constructor.name === "GPUOutOfMemoryError";
    this.#failure = isMemory
      ? new EnvironmentError("GPU_OUT_OF_MEMORY", `${this.name} is out of memory: ${error.message}`, {
          help: "take fewer tokens, close what else uses the GPU, or take --backend wasm",
        })
      : new GpuError(error.message);
  }
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

const lost = (reason: string): EnvironmentError =>
  new EnvironmentError("GPU_LOST", `the GPU was lost: ${reason}`, {
    help: "the driver reset it or ran out of memory; try again with fewer tokens, or take --backend wasm",
  });
