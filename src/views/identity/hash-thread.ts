// SHA-256 beside other work: blocks are handed to a thread through a ring of shared memory, so that what is under way is
// bounded, and whoever hands them over never has to be asynchronous.
import { createHash, type Hash } from "node:crypto";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";

/** Many hashes, each by a number of its own. */
export interface Hashes {
  /** The next bytes of one of them. */
  update(id: number, bytes: Uint8Array): void;
  /** Begins one of them anew. */
  reset(id: number): void;
  /** In hex, of those that had bytes. */
  digests(): Promise<ReadonlyMap<number, string>>;
  close(): void;
}

/** Of no bytes. */
export const EMPTY_HASH = createHash("sha256").digest("hex");

/** Below this, a thread takes longer to start than the hashing takes. */
const THREAD_FROM_BYTES = 64e6;
const SLOT_BYTES = 1 << 19;
const SLOTS = 16;
/** Memory of a thread: what V8 takes for it, and the ring. 24 MB measured on Node 20. */
const THREAD_BYTES = 32e6;

export const isThreadWorth = (bytes: number): boolean => bytes >= THREAD_FROM_BYTES && availableParallelism() > 1;

/** What hashing of so many bytes takes. */
export const hashingBytes = (bytes: number): number => (isThreadWorth(bytes) ? THREAD_BYTES : 0);

export const hashesFor = (bytes: number): Hashes => (isThreadWorth(bytes) ? new HashThread() : new HashesHere());

class HashesHere implements Hashes {
  readonly #hashes = new Map<number, Hash>();

  update(id: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const hash = this.#hashes.get(id) ?? createHash("sha256");
    this.#hashes.set(id, hash);
    hash.update(bytes);
  }

  reset(id: number): void {
    this.#hashes.delete(id);
  }

  async digests(): Promise<ReadonlyMap<number, string>> {
    return new Map([...this.#hashes].map(([id, hash]) => [id, hash.digest("hex")]));
  }

  close(): void {
    this.#hashes.clear();
  }
}

/** Words of the ring's head: blocks that were handed over, and blocks that were hashed. */
const GIVEN = 0;
const TAKEN = 1;
/** Then three words a slot: number of the hash, bytes, and what to do. */
const WORDS = 3;
const HEAD = 2;
const UPDATE = 0;
const RESET = 1;
const END = 2;
/** A thread that takes no block for so long is dead: hashing one takes under a millisecond. */
const PATIENCE_MS = 120_000;

/** Text, because a bundle has no file of its own for it. */
const THREAD = `
const { createHash } = require("node:crypto");
const { parentPort, workerData } = require("node:worker_threads");
const words = new Int32Array(workerData.words);
const slots = new Uint8Array(workerData.slots);
const hashes = new Map();
for (let taken = 0; ; taken += 1) {
  while (Atomics.load(words, ${GIVEN}) === taken) Atomics.wait(words, ${GIVEN}, taken);
  const slot = taken % ${SLOTS};
  const at = ${HEAD} + ${WORDS} * slot;
  const [id, count, kind] = [words[at], words[at + 1], words[at + 2]];
  if (kind === ${END}) break;
  if (kind === ${RESET}) hashes.delete(id);
  else {
    if (!hashes.has(id)) hashes.set(id, createHash("sha256"));
    hashes.get(id).update(slots.subarray(slot * ${SLOT_BYTES}, slot * ${SLOT_BYTES} + count));
  }
  Atomics.store(words, ${TAKEN}, taken + 1);
  Atomics.notify(words, ${TAKEN});
}
parentPort.postMessage([...hashes].map(([id, hash]) => [id, hash.digest("hex")]));
`;

class HashThread implements Hashes {
  readonly #words = new Int32Array(new SharedArrayBuffer(4 * (HEAD + WORDS * SLOTS)));
  readonly #slots = new Uint8Array(new SharedArrayBuffer(SLOTS * SLOT_BYTES));
  readonly #worker: Worker;
  readonly #ended: Promise<ReadonlyMap<number, string>>;
  #given = 0;

  constructor() {
    const workerData = { words: this.#words.buffer, slots: this.#slots.buffer };
    this.#worker = new Worker(THREAD, {
      eval: true,
      workerData,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 64 },
    });
    this.#ended = new Promise((resolve, reject) => {
      this.#worker.once("message", (digests: readonly (readonly [number, string])[]) => resolve(new Map(digests)));
      this.#worker.once("error", reject);
      this.#worker.once("exit", (code) => reject(new Error(`the thread that hashes ended with ${code}`)));
    });
    // It surfaces where it is awaited.
    this.#ended.catch(() => undefined);
    // A run that fails does not wait for it.
    this.#worker.unref();
  }

  update(id: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += SLOT_BYTES) this.#give(id, bytes.subarray(at, at + SLOT_BYTES), UPDATE);
  }

  reset(id: number): void {
    this.#give(id, new Uint8Array(), RESET);
  }

  digests(): Promise<ReadonlyMap<number, string>> {
    this.#worker.ref();
    this.#give(0, new Uint8Array(), END);
    return this.#ended;
  }

  close(): void {
    void this.#worker.terminate();
  }

  #give(id: number, bytes: Uint8Array, kind: number): void {
    const words = this.#words;
    for (;;) {
      const taken = Atomics.load(words, TAKEN);
      if (this.#given - taken < SLOTS) break;
      if (Atomics.wait(words, TAKEN, taken, PATIENCE_MS) === "timed-out")
        throw new Error("the thread that hashes is dead");
    }
    const slot = this.#given % SLOTS;
    this.#slots.set(bytes, slot * SLOT_BYTES);
    words.set([id, bytes.length, kind], HEAD + WORDS * slot);
    this.#given += 1;
    Atomics.store(words, GIVEN, this.#given);
    Atomics.notify(words, GIVEN);
  }
}
