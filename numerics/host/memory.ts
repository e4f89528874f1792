/** Element type of a host backend: f64 in the reference, f32 in WASM. */
export type Values = Float64Array | Float32Array;

/**
 * Buffers of one element type, counted. Released ones wait for the next request of their size: freeing is left to the
 * garbage collector otherwise, which lets the process grow far beyond what is in use.
 */
export class Memory<V extends Values> {
  private readonly pools = new Map<number, { readonly free: V[]; used: boolean }>();
  private heldBytes: number;
  /** Largest number of bytes held at once, waiting buffers included. */
  peakBytes: number;

  /** @param otherBytes what the backend holds besides */
  constructor(
    private readonly create: (length: number) => V,
    otherBytes: number,
  ) {
    this.heldBytes = otherBytes;
    this.peakBytes = otherBytes;
  }

  /** A buffer whose contents are undefined. */
  acquire(length: number): V {
    const pool = this.pools.get(length) ?? { free: [], used: true };
    this.pools.set(length, pool);
    pool.used = true;
    return pool.free.pop() ?? this.allocate(length);
  }

  release(buffer: V): void {
    this.pools.get(buffer.length)!.free.push(buffer);
  }

  /** Gives up waiting buffers of the sizes that nobody asked for since the last call. */
  trim(): void {
    for (const pool of this.pools.values()) {
      if (!pool.used) {
        for (const { byteLength } of pool.free) this.heldBytes -= byteLength;
        pool.free.length = 0;
      }
      pool.used = false;
    }
  }

  /** Counts memory that others hold for the backend; negative where they give it back. */
  count(bytes: number): void {
    this.heldBytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.heldBytes);
  }

  private allocate(length: number): V {
    const buffer = this.create(length);
    this.count(buffer.byteLength);
    return buffer;
  }
}
