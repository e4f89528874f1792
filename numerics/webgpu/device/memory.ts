// Buffers of a device, counted; activations come from a pool.
import type { Device } from "./device.ts";
import { usage } from "./device.ts";

export class Memory {
  readonly #device: Device;
  /** Free buffers by size. Sizes repeat from layer to layer, so equal sizes are enough. */
  readonly #free = new Map<number, GPUBuffer[]>();
  /** Sizes taken since the last `trim`. */
  readonly #used = new Set<number>();
  #held = 0;
  #peak = 0;

  constructor(device: Device) {
    this.#device = device;
  }

  /** Largest number of bytes held at once, free buffers of the pool and staging included. */
  get peak(): number {
    return this.#peak;
  }

  /** Counts memory that others hold for us (host chunks, uploads that wait in Dawn). */
  count(bytes: number): void {
    this.#held += bytes;
    this.#peak = Math.max(this.#peak, this.#held);
  }

  create(size: number, flags: GPUBufferUsageFlags): GPUBuffer {
    this.count(size);
    return this.#device.gpu.createBuffer({ size, usage: flags });
  }

  destroy(buffer: GPUBuffer): void {
    this.count(-buffer.size);
    buffer.destroy();
  }

  take(bytes: number): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    this.#used.add(size);
    return this.#free.get(size)?.pop() ?? this.create(size, usage.storage | usage.copySrc | usage.copyDst);
  }

  /** Gives a buffer back while commands that use it may still run: the queue keeps their order. */
  give(buffer: GPUBuffer): void {
    const free = this.#free.get(buffer.size);
    if (free === undefined) this.#free.set(buffer.size, [buffer]);
    else free.push(buffer);
  }

  /** Destroys free buffers of sizes that nobody took since the last call. */
  trim(): void {
    for (const [size, buffers] of this.#free) {
      if (this.#used.has(size)) continue;
      for (const buffer of buffers) this.destroy(buffer);
      this.#free.delete(size);
    }
    this.#used.clear();
    this.#device.gpu.queue.submit([]); // Dawn frees destroyed buffers at the next submit only.
  }
}
