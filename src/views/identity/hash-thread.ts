// SHA-256 beside other work: bytes are handed to a thread in shared blocks.
import { createHash, type Hash } from "node:crypto";
import { availableParallelism } from "node:os";
import { Blocks } from "../../base/threads/blocks.ts";
import { type Ability, Lane, THREAD_BYTES } from "../../base/threads/lane.ts";

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

export const isThreadWorth = (bytes: number): boolean => bytes >= THREAD_FROM_BYTES && availableParallelism() > 1;

/** What hashing of so many bytes takes, beside the blocks. */
export const hashingBytes = (bytes: number): number => (isThreadWorth(bytes) ? THREAD_BYTES : 0);

/** @param shared a thread that can hash, and does for nobody else; or blocks that bytes may lie in */
export function hashesFor(bytes: number, shared?: Lane | Blocks): Hashes {
  if (!isThreadWorth(bytes)) return new HashesHere();
  const isOwn = !(shared instanceof Lane);
  return new HashThread(isOwn ? new Lane(shared ?? new Blocks(), [HASHING]) : shared, isOwn);
}

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

const UPDATE = 1;
const RESET = 2;
const DIGESTS = 3;

/** What a thread has to be able to do. */
export const HASHING: Ability = {
  program: `
const { createHash } = require("node:crypto");
const hashes = new Map();
carryOut[${UPDATE}] = (bytes, id) => {
  if (!hashes.has(id)) hashes.set(id, createHash("sha256"));
  hashes.get(id).update(bytes);
};
carryOut[${RESET}] = (_, id) => hashes.delete(id);
carryOut[${DIGESTS}] = () => {
  parentPort.postMessage([...hashes].map(([id, hash]) => [id, hash.digest("hex")]));
};
`,
};

class HashThread implements Hashes {
  readonly #lane: Lane;
  readonly #isOwn: boolean;
  readonly #digests: Promise<ReadonlyMap<number, string>>;

  constructor(lane: Lane, isOwn: boolean) {
    this.#lane = lane;
    this.#isOwn = isOwn;
    const { worker } = lane;
    this.#digests = new Promise((resolve, reject) => {
      worker.once("message", (digests: readonly (readonly [number, string])[]) => resolve(new Map(digests)));
      worker.once("error", reject);
      worker.once("exit", (code) => reject(new Error(`the thread that hashes ended with ${code}`)));
    });
    // It surfaces where it is awaited.
    this.#digests.catch(() => undefined);
  }

  update(id: number, bytes: Uint8Array): void {
    this.#lane.blocks.placed(bytes, (placed) => this.#lane.give(UPDATE, placed, id));
  }

  reset(id: number): void {
    this.#lane.give(RESET, null, id);
  }

  async digests(): Promise<ReadonlyMap<number, string>> {
    const { worker } = this.#lane;
    worker.ref();
    this.#lane.give(DIGESTS, null);
    const digests = await this.#digests;
    worker.unref();
    return digests;
  }

  close(): void {
    if (this.#isOwn) this.#lane.close();
  }
}
