/** Element type of a backend in JavaScript: f64 in the reference, f32 in WASM. */
export type Values = Float64Array | Float32Array;

/** Evaluations of a graph that a size is kept for without being asked for. */
const IDLE_CALLS = 4;

/**
 * Buffers of one element type, counted. Released ones wait for the next request of their size: freeing is left to the
 * garbage collector otherwise, which lets the process grow far beyond what is in use.
 */
export class Memory<V extends Values> {
  private readonly pools = new Map<number, { readonly free: V[]; idle: number }>();
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
    const pool = this.pools.get(length) ?? { free: [], idle: 0 };
    this.pools.set(length, pool);
    pool.idle = 0;
    return pool.free.pop() ?? this.allocate(length);
  }

  release(buffer: V): void {
    this.pools.get(buffer.length)!.free.push(buffer);
  }

  /**
   * Releases waiting buffers whose size nobody asked for in the last calls. Not at once: attention and feed-forward
   * take turns. And a released shared buffer stays in memory for long, because the garbage collector does not count it.
   */
  trim(calls = IDLE_CALLS): void {
    for (const pool of this.pools.values()) {
      if (pool.idle >= calls) {
        for (const { byteLength } of pool.free) this.heldBytes -= byteLength;
        pool.free.length = 0;
      }
      pool.idle++;
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
