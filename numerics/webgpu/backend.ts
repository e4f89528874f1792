import type { Backend, WeightSource } from "../backend.ts";
import { CAPABILITIES } from "../capabilities.ts";
import type { Ops } from "../graph.ts";
import type { KernelTraits } from "./choice.ts";
import type { MatrixUse } from "./device/description.ts";
import { Device, usage } from "./device/device.ts";
import { checkProducts, type FoundMatrices, findMatrices } from "./device/matrices.ts";
import { Memory } from "./device/memory.ts";
import { awaitGpu } from "./device/polling.ts";
import { Pipelines } from "./kernel.ts";
import { GpuNode, Storage } from "./node.ts";
import { gpuOps } from "./ops/all.ts";
import { alignment, Queue } from "./queue.ts";
import { Recording } from "./recording.ts";
import type { Runner, Step } from "./step.ts";
import { packingOf, WeightReader } from "./weights.ts";

export interface WebGpuOptions {
  /** Bytes of weights that are sent at a time; larger weights go in windows of rows. Default 32 MiB. */
  readonly windowBytes?: number;
  /** Bytes of a buffer that a kernel sees at a time. Default: what the adapter offers. */
  readonly bindingBytes?: number;
  /** Replaces what is known about the adapter, and so the choice of kernels. */
  readonly traits?: Partial<KernelTraits>;
}

/** While the GPU works on one window, the next one is read. */
const defaultWindowBytes = CAPABILITIES.webgpu.windowBytes / 2;
/** Bytes read back at a time. */
const readbackBytes = 16 * 2 ** 20;

/**
 * A backend on this machine's GPU in f32 (weights in bf16 stay bf16 in its memory and are unpacked exactly; f64 is
 * rounded to f32). Products run on matrix units where `find` finds some and they pass `checkProducts`.
 * @throws EnvironmentError NO_GPU_ADAPTER, WEBGPU_NOT_LOADABLE, GPU_DEVICE_REFUSED
 */
export async function createWebGpuBackend(options: WebGpuOptions = {}, find = findMatrices): Promise<WebGpuBackend> {
  const found = await find();
  if ("unused" in found) return new WebGpuBackend(await Device.open(), options, found);
  const wrong = await tryMatrices(found, options);
  if (wrong instanceof WebGpuBackend) return wrong;
  const device = await Device.open();
  return new WebGpuBackend(device, options, { unused: wrong }, `${device.name} (subgroup matrices unused: ${wrong})`);
}

/** A backend on matrix units, or why not. */
async function tryMatrices(
  { adapter, shape }: Exclude<FoundMatrices, { unused: string }>,
  options: WebGpuOptions,
): Promise<WebGpuBackend | string> {
  let backend: WebGpuBackend | undefined;
  try {
    const device = await Device.open(adapter);
    const name = `${device.name} (subgroup matrices ${shape.M}x${shape.N}x${shape.K})`;
    const traits = { ...options.traits, matrix: shape };
    backend = new WebGpuBackend(device, { ...options, traits }, { shape }, name);
    const wrong = await checkProducts(backend);
    if (wrong === undefined) return backend;
    await backend.close();
    return wrong;
  } catch (error) {
    await backend?.close();
    return error instanceof Error ? error.message.split("\n")[0]! : String(error);
  }
}

/** Whether `createWebGpuBackend` takes matrix units. @throws as it does */
export async function describeMatrices(): Promise<MatrixUse> {
  const backend = await createWebGpuBackend();
  await backend.close();
  return backend.matrices;
}

/** Use `createWebGpuBackend`. */
export class WebGpuBackend implements Backend<GpuNode> {
  readonly name = "webgpu";
  readonly capabilities = CAPABILITIES.webgpu;
  readonly adapter: string;
  readonly library = null;
  /** The adapter runs on the CPU. */
  readonly isSoftware: boolean;
  readonly matrices: MatrixUse;
  readonly ops: Ops<GpuNode>;
  readonly #recording: Recording;
  readonly #device: Device;
  readonly #memory: Memory;
  readonly #pipelines: Pipelines;
  readonly #runner: Runner;
  /** Activations that outlived the last `evaluate`. */
  #kept = new Set<Storage>();
  #staging: GPUBuffer | undefined;
  #isBusy = false;
  /** An evaluation that stopped half-way: what was recorded or kept is no longer there. */
  #interrupted: unknown;

  constructor(
    device: Device,
    options: WebGpuOptions,
    matrices: MatrixUse = { unused: "not asked for" },
    adapter = device.name,
  ) {
    const { limits } = device.gpu;
    const { windowBytes = defaultWindowBytes, traits } = options;
    const visibleBytes = options.bindingBytes ?? limits.maxStorageBufferBindingSize;
    const bindingBytes = Math.floor(visibleBytes / alignment) * alignment;
    this.#device = device;
    this.#memory = new Memory(device);
    this.#pipelines = new Pipelines(device);
    this.#runner = {
      queue: new Queue(device, this.#memory, this.#pipelines),
      memory: this.#memory,
      reader: new WeightReader(),
      windowBytes: Math.min(windowBytes, bindingBytes),
      bindingBytes,
      read: (storage) => this.#readNow(storage),
      nested: (graph) => this.#nested(graph),
      release: (storage) => this.#free(storage),
    };
    this.adapter = adapter;
    this.isSoftware = device.isSoftware;
    this.matrices = matrices;
    this.#recording = new Recording({
      family: device.kernels,
      subgroupSize: device.subgroupSize,
      workgroupMemoryBytes: limits.maxComputeWorkgroupStorageSize,
      ...traits,
    });
    this.ops = gpuOps(this.#recording);
  }

  get peakBytes(): number {
    return this.#memory.peak + this.#runner.reader.heldBytes;
  }

  weight(source: WeightSource): GpuNode {
    packingOf(source);
    return new GpuNode(source.shape, { source, begin: 0 });
  }

  evaluate(keep: readonly GpuNode[]): Promise<void> {
    return this.#alone(async () => {
      if (this.#interrupted !== undefined) throw this.#interrupted;
      try {
        await this.#evaluate(keep);
      } catch (error) {
        this.#interrupted = error;
        throw error;
      }
    });
  }

  readback(x: GpuNode, begin = 0, end = x.elements): Promise<Float32Array> {
    return this.#alone(async () => {
      const { data } = x;
      const out = new Float32Array(end - begin);
      if (!(data instanceof Storage)) {
        this.#runner.reader.readFloats(data, begin, new Uint8Array(out.buffer));
        return out;
      }
      if (data.buffer === undefined) throw new Error("readback of a node that was not evaluated");
      await this.#copyAll(data.buffer, begin, out);
      return out;
    });
  }

  async close(): Promise<void> {
    this.#device.close();
  }

  async #evaluate(keep: readonly GpuNode[]): Promise<void> {
    const steps = this.#recording.take();
    const kept = new Set<Storage>();
    for (const { data } of keep) if (data instanceof Storage) kept.add(data);
    await this.#pipelines.prepare(steps.flatMap((step) => step.kernels));
    const uploads = steps.reduce((sum, step) => sum + step.uploadBytes, 0);
    this.#runner.queue.expect(Math.min(this.#runner.windowBytes, uploads));
    await this.#run(steps, kept, this.#kept);
    await this.#runner.queue.finish();
    this.#memory.trim();
    this.#kept = kept;
  }

  /** Runs the steps in order; an activation is freed after its last use unless it is in `kept`. */
  async #run(steps: readonly Step[], kept: ReadonlySet<Storage>, before: ReadonlySet<Storage>): Promise<void> {
    const lastUse = new Map<Storage, number>();
    for (const storage of before) lastUse.set(storage, -1);
    for (const [i, { inputs, output }] of steps.entries()) {
      for (const storage of [...inputs, output]) if (storage instanceof Storage) lastUse.set(storage, i);
    }
    const freed = steps.map((): Storage[] => []);
    for (const [storage, i] of lastUse) {
      if (kept.has(storage)) continue;
      if (i < 0) this.#free(storage);
      else freed[i]!.push(storage);
    }
    for (const [i, step] of steps.entries()) {
      step.output.buffer = this.#memory.take(step.output.bytes);
      await step.run(this.#runner);
      for (const storage of freed[i]!) this.#free(storage);
    }
  }

  /** In the middle of an evaluation; the nodes of the graph around it stay. */
  async #nested(graph: () => GpuNode): Promise<Storage> {
    const { data } = graph();
    const steps = this.#recording.take();
    if (!(data instanceof Storage)) throw new Error("a nested graph gave back a weight");
    await this.#pipelines.prepare(steps.flatMap((step) => step.kernels));
    const made = new Set(steps.map((step) => step.output));
    await this.#run(
      steps.map((step) => ({ ...step, inputs: step.inputs.filter((x) => !(x instanceof Storage) || made.has(x)) })),
      new Set([data]),
      new Set(),
    );
    return data;
  }

  async #readNow(storage: Storage): Promise<Float32Array> {
    if (storage.buffer === undefined) throw new Error("an activation is read before it is made");
    await this.#runner.queue.finish();
    const out = new Float32Array(storage.elements);
    await this.#copyAll(storage.buffer, 0, out);
    return out;
  }

  #free(storage: Storage): void {
    if (storage.buffer !== undefined) this.#memory.give(storage.buffer);
    storage.buffer = undefined;
    storage.isFreed = true;
  }

  async #copyAll(from: GPUBuffer, begin: number, to: Float32Array): Promise<void> {
    const step = readbackBytes / 4;
    for (let at = 0; at < to.length; at += step) await this.#copyOut(from, begin + at, to.subarray(at, at + step));
  }

  async #copyOut(from: GPUBuffer, begin: number, to: Float32Array): Promise<void> {
    const { gpu } = this.#device;
    if (this.#staging === undefined || this.#staging.size < to.byteLength) {
      if (this.#staging !== undefined) this.#memory.destroy(this.#staging);
      this.#staging = this.#memory.create(to.byteLength, usage.mapRead | usage.copyDst);
    }
    const encoder = gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(from, 4 * begin, this.#staging, 0, to.byteLength);
    gpu.queue.submit([encoder.finish()]);
    await this.#device.settle();
    await awaitGpu(this.#staging.mapAsync(1, 0, to.byteLength));
    to.set(new Float32Array(this.#staging.getMappedRange(0, to.byteLength)));
    this.#staging.unmap();
  }

  /** One at a time: commands of two calls must not mix. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    this.#device.throwIfFailed();
    if (this.#isBusy) throw new Error("the backend is still at work; await the last call first");
    this.#isBusy = true;
    try {
      return await work();
    } finally {
      this.#isBusy = false;
    }
  }
}
