// Blocks of shared memory that go from whoever fills them to threads, each of which does something with them, and come back
// once all have: bytes are read into them once, and what is under way is bounded.
import { sharedMemory } from "./memory.ts";

export const BLOCK_BYTES = 1 << 20;
const BLOCKS = 12;
/** All of them. */
export const BLOCKS_BYTES = BLOCKS * BLOCK_BYTES;
const PAGE_BYTES = 65_536;
/** Behind the blocks: what threads keep between commands. */
const KEPT_BYTES = 2 * PAGE_BYTES;
/** What is copied begins at multiples of the largest element. */
const ALIGNMENT = 8;
/** Behind what is kept: for whoever fills blocks, as its kernels work within one memory. It is taken as it is written to. */
const WORKSPACE_BYTES = 2 ** 25;
/** A block that does not come back for so long is lost: a thread has died, or a disk hangs. */
const PATIENCE_MS = 600_000;

/** What a thread needs of them. */
export interface SharedBlocks {
  /** A memory of WebAssembly, so that kernels work on what lies there. */
  readonly memory: WebAssembly.Memory;
  /** How many uses each block still has. */
  readonly uses: SharedArrayBuffer;
}

export class Blocks {
  readonly shared: SharedBlocks = {
    memory: sharedMemory(BLOCKS_BYTES + KEPT_BYTES + WORKSPACE_BYTES),
    uses: new SharedArrayBuffer(4 * BLOCKS),
  };
  readonly #memory = this.shared.memory.buffer;
  readonly #uses = new Int32Array(this.shared.uses);
  #next = 0;
  /** The block that small copies go to, one behind the other, and its free bytes. */
  #open = { at: 0, end: 0 };
  #kept = BLOCKS_BYTES;
  /** That this thread still reads from. */
  readonly #held = new Set<number>();

  /** Bytes that are never lent: for what threads keep between commands. */
  keep(byteLength: number): Uint8Array {
    const kept = new Uint8Array(this.#memory, this.#kept, byteLength);
    this.#kept += Math.ceil(byteLength / ALIGNMENT) * ALIGNMENT;
    return kept;
  }

  /** Memory that is never lent, for one user; null for more than there is. */
  workspace(byteLength: number): Uint8Array | null {
    return byteLength > WORKSPACE_BYTES ? null : new Uint8Array(this.#memory, BLOCKS_BYTES + KEPT_BYTES, byteLength);
  }

  /** Memory to fill, good until as many more are asked for as there are blocks, less one; null for more than a block. */
  lend(byteLength: number): Uint8Array | null {
    return byteLength > BLOCK_BYTES ? null : new Uint8Array(this.#memory, this.#free(), byteLength);
  }

  /** The bytes where they are, if that is in a block; else copies of them, in one or more. */
  placed(bytes: Uint8Array, each: (bytes: Uint8Array) => void): void {
    const memory = this.#memory;
    if (this.holds(bytes)) {
      if (bytes.length > 0) each(bytes);
      return;
    }
    for (let at = 0; at < bytes.length; ) {
      if (this.#open.at >= this.#open.end) {
        const begin = this.#free();
        this.#open = { at: begin, end: begin + BLOCK_BYTES };
      }
      const piece = bytes.subarray(at, at + this.#open.end - this.#open.at);
      const copy = new Uint8Array(memory, this.#open.at, piece.length);
      copy.set(piece);
      this.#open.at += Math.ceil(piece.length / ALIGNMENT) * ALIGNMENT;
      at += piece.length;
      each(copy);
    }
  }

  /** Whether bytes lie in a block, or in what is kept. */
  holds({ buffer }: Uint8Array): boolean {
    return buffer === this.#memory;
  }

  /** The bytes stay as they are while `run` runs, however many blocks it asks for. */
  hold(bytes: Uint8Array, run: () => void): void {
    const index = this.holds(bytes) ? Math.floor(bytes.byteOffset / BLOCK_BYTES) : -1;
    this.#held.add(index);
    try {
      run();
    } finally {
      this.#held.delete(index);
    }
  }

  /** One more thread uses what lies there. */
  use(byteOffset: number): void {
    Atomics.add(this.#uses, Math.floor(byteOffset / BLOCK_BYTES), 1);
  }

  /** The next block, once nobody uses it. */
  #free(): number {
    while (this.#held.has(this.#next)) this.#next = (this.#next + 1) % BLOCKS;
    const index = this.#next;
    this.#next = (index + 1) % BLOCKS;
    for (let uses = Atomics.load(this.#uses, index); uses !== 0; uses = Atomics.load(this.#uses, index)) {
      if (Atomics.wait(this.#uses, index, uses, PATIENCE_MS) === "timed-out")
        throw new Error("a thread does not give its memory back");
    }
    const begin = index * BLOCK_BYTES;
    if (this.#open.end === begin + BLOCK_BYTES) this.#open = { at: 0, end: 0 };
    return begin;
  }
}
