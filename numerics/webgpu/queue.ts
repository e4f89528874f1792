// Commands on their way to the GPU, in batches with bounded staging: what the host sends and the numbers of each
// dispatch lie in one of two arenas. While the GPU works through one, the next weights are read into the other.
import type { Device } from "./device/device.ts";
import { usage } from "./device/device.ts";
import type { Memory } from "./device/memory.ts";
import { awaitGpu } from "./device/polling.ts";
import { type Kernel, type Pipelines, paramBytes, writeParams } from "./kernel.ts";

/** Part of a buffer, in bytes; `offset` is a multiple of `alignment`. */
export interface Binding {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

/** WebGPU's default alignment of storage buffer offsets. */
export const alignment = 256;

export const alignUp = (bytes: number, to = alignment): number => Math.ceil(bytes / to) * to;

/** Dispatches a batch at most. */
const maxDispatches = 512;
/** Bytes the host prepares at a time. */
const chunkBytes = 4 * 2 ** 20;
export const maxGroups = 65535;

/** Workgroups of a 2-D grid with at least `count`. */
export const grid = (count: number): readonly [number, number] => {
  const x = Math.min(count, maxGroups);
  return [x, x === 0 ? 0 : Math.ceil(count / x)];
};

interface Arena {
  buffer: GPUBuffer | undefined;
  /** Bytes of `buffer` that hold uploads. */
  used: number;
  /** Bytes that were sent to it and may still wait in Dawn. */
  sent: number;
  readonly params: GPUBuffer;
  /** Settles when the GPU is done with what was submitted last. */
  free: Promise<void>;
}

export class Queue {
  readonly #device: Device;
  readonly #memory: Memory;
  readonly #pipelines: Pipelines;
  readonly #arenas: readonly [Arena, Arena];
  readonly #params = new DataView(new ArrayBuffer(maxDispatches * paramBytes));
  #current: 0 | 1 = 0;
  #arenaBytes = 0;
  #dispatches = 0;
  #encoder: GPUCommandEncoder | undefined;
  #chunk = new ArrayBuffer(0);

  constructor(device: Device, memory: Memory, pipelines: Pipelines) {
    this.#device = device;
    this.#memory = memory;
    this.#pipelines = pipelines;
    const arena = (): Arena => ({
      buffer: undefined,
      used: 0,
      sent: 0,
      params: memory.create(maxDispatches * paramBytes, usage.uniform | usage.copyDst),
      free: Promise.resolve(),
    });
    this.#arenas = [arena(), arena()];
  }

  /** Arenas made from now on have at least `bytes`, so that a run of small uploads needs one only. */
  expect(bytes: number): void {
    this.#arenaBytes = Math.max(this.#arenaBytes, bytes);
  }

  /** Makes room for aligned uploads of `bytes` in all. They stay readable until the next `reserve`. */
  async reserve(bytes: number): Promise<void> {
    if (this.#arena.used + bytes <= (this.#arena.buffer?.size ?? 0)) return;
    if (this.#arena.used > 0) await this.#turn();
    const arena = this.#arena;
    if (bytes <= (arena.buffer?.size ?? 0)) return;
    if (arena.buffer !== undefined) this.#memory.destroy(arena.buffer);
    arena.buffer = this.#memory.create(
      alignUp(Math.max(bytes, this.#arenaBytes)),
      usage.storage | usage.copySrc | usage.copyDst,
    );
  }

  /** Sends `bytes` to the place that `reserve` made; `fill` writes them piece by piece, each a multiple of `unit`. */
  upload(bytes: number, unit: number, fill: (begin: number, piece: Uint8Array) => void): Binding {
    const arena = this.#arena;
    const { buffer, used: offset } = arena;
    if (buffer === undefined || offset + bytes > buffer.size) throw new RangeError("upload beyond what was reserved");
    const step = Math.max(unit, Math.floor(chunkBytes / unit) * unit);
    for (let begin = 0; begin < bytes; begin += step) {
      const size = Math.min(step, bytes - begin);
      const piece = new Uint8Array(this.#hostChunk(size), 0, size);
      fill(begin, piece);
      this.#device.gpu.queue.writeBuffer(buffer, offset + begin, piece);
    }
    arena.used = alignUp(offset + bytes);
    arena.sent += bytes;
    this.#memory.count(bytes);
    return { buffer, offset, size: bytes };
  }

  /** Copies `from` to `to`, which has the same size; in order with the kernels around it. */
  copy(from: Binding, to: Binding): void {
    this.#commands().copyBufferToBuffer(from.buffer, from.offset, to.buffer, to.offset, from.size);
  }

  /** Zeros. */
  clear({ buffer, offset, size }: Binding): void {
    this.#commands().clearBuffer(buffer, offset, size);
  }

  /** Runs a kernel over a grid of workgroups. `bindings` are its reads, then its output. */
  dispatch<P extends string>(
    kernel: Kernel<P>,
    bindings: readonly Binding[],
    params: Record<P, number>,
    groups: readonly [number, number],
  ): void {
    if (this.#dispatches === maxDispatches) this.submit();
    const offset = this.#dispatches++ * paramBytes;
    writeParams(kernel, params, new DataView(this.#params.buffer, offset, paramBytes));
    const uniform = { buffer: this.#arena.params, offset, size: paramBytes };
    const pass = this.#commands().beginComputePass();
    pass.setPipeline(this.#pipelines.get(kernel));
    pass.setBindGroup(
      0,
      this.#device.gpu.createBindGroup({
        layout: this.#pipelines.layout(bindings.length - 1),
        entries: [...bindings, uniform].map((resource, binding) => ({ binding, resource })),
      }),
    );
    pass.dispatchWorkgroups(...groups);
    pass.end();
  }

  /** Submits what was recorded. Later writes to the arenas come after it in the queue's order. */
  submit(): void {
    if (this.#encoder === undefined) return;
    const { queue } = this.#device.gpu;
    const { params } = this.#arena;
    if (this.#dispatches > 0) queue.writeBuffer(params, 0, this.#params.buffer, 0, this.#dispatches * paramBytes);
    queue.submit([this.#encoder.finish()]);
    this.#encoder = undefined;
    this.#dispatches = 0;
  }

  /** Submits the rest and awaits all of it. @throws what the device reports. */
  async finish(): Promise<void> {
    this.submit();
    await this.#device.settle();
    for (const arena of this.#arenas) this.#reuse(arena);
  }

  get #arena(): Arena {
    return this.#arenas[this.#current];
  }

  /** Submits this arena's work and goes on with the other, once the GPU is done with that one. */
  async #turn(): Promise<void> {
    this.submit();
    this.#arena.free = awaitGpu(this.#device.drained());
    this.#current = this.#current === 0 ? 1 : 0;
    await this.#arena.free;
    this.#device.throwIfFailed();
    this.#reuse(this.#arena);
  }

  #reuse(arena: Arena): void {
    this.#memory.count(-arena.sent);
    arena.sent = 0;
    arena.used = 0;
  }

  #commands(): GPUCommandEncoder {
    this.#encoder ??= this.#device.gpu.createCommandEncoder();
    return this.#encoder;
  }

  #hostChunk(size: number): ArrayBuffer {
    if (this.#chunk.byteLength < size) {
      this.#memory.count(size - this.#chunk.byteLength);
      this.#chunk = new ArrayBuffer(size);
    }
    return this.#chunk;
  }
}
