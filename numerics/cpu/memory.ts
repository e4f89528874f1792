/**
 * Float64 buffers, counted. Released ones wait for the next request of their size: freeing is left to the garbage
 * collector otherwise, which lets the process grow far beyond what is in use.
 */
export class Memory {
  private readonly pools = new Map<number, { readonly free: Float64Array[]; used: boolean }>();
  private heldBytes: number;
  /** Largest number of bytes held at once, waiting buffers included. */
  peakBytes: number;

  /** @param otherBytes what the backend holds besides */
  constructor(otherBytes: number) {
    this.heldBytes = otherBytes;
    this.peakBytes = otherBytes;
  }

  /** A buffer whose contents are undefined. */
  acquire(length: number): Float64Array {
    const pool = this.pools.get(length) ?? { free: [], used: true };
    this.pools.set(length, pool);
    pool.used = true;
    return pool.free.pop() ?? this.allocate(length);
  }

  release(buffer: Float64Array): void {
    this.pools.get(buffer.length)!.free.push(buffer);
  }

  /** Gives up waiting buffers of the sizes that nobody asked for since the last call. */
  trim(): void {
    for (const [length, pool] of this.pools) {
      if (!pool.used) {
        this.heldBytes -= pool.free.length * length * 8;
        pool.free.length = 0;
      }
      pool.used = false;
    }
  }

  private allocate(length: number): Float64Array {
    this.heldBytes += length * 8;
    this.peakBytes = Math.max(this.peakBytes, this.heldBytes);
    return new Float64Array(length);
  }
}
