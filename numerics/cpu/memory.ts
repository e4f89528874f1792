/**
 * Float64 buffers, counted. Released ones wait for the next request of their size: freeing is left to the garbage
 * collector otherwise, which lets the process grow far beyond what is in use.
 */
export class Memory {
  private readonly pools = new Map<number, { readonly free: Float64Array[]; used: boolean }>();
  private heldBytes = 0;
  /** Largest number of bytes held at once, waiting buffers included. */
  peakBytes = 0;

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

  /** Bytes held elsewhere for a while (scratch), so that the peak is honest. */
  count<T>(bytes: number, whileHeld: () => T): T {
    this.hold(bytes);
    try {
      return whileHeld();
    } finally {
      this.heldBytes -= bytes;
    }
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
    this.hold(length * 8);
    return new Float64Array(length);
  }

  private hold(bytes: number): void {
    this.heldBytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.heldBytes);
  }
}
