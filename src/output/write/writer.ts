// Who brings bytes into files and hashes them in order: this thread at once, or another one beside the work, from shared blocks.
import { MessageChannel, receiveMessageOnPort } from "node:worker_threads";
import type { LateCrc32 } from "../../base/crc32.ts";
import type { Ability, Lane } from "../../base/threads/lane.ts";
import { STATE_BYTES, XXH64_PROGRAM, Xxh64 } from "../../base/xxh64/xxh64.ts";
import { writeAll } from "./bytes.ts";

/** Of one file at a time. */
export interface Writer {
  /** Begins the hash anew, once all is settled. */
  begin(): void;
  /** Bytes to a position of an open file; they may be written over when this returns. Throws what the disk does, of earlier calls too. */
  write(fd: number, bytes: Uint8Array, position: number): void;
  /** The next bytes of the hash; they may be written over as well. */
  hash(bytes: Uint8Array): void;
  /** CRC-32 of bytes that may be written over as well, found by somebody else; null where it is quicker to do it at once. */
  crc32(bytes: Uint8Array): LateCrc32 | null;
  /** A point of the work: what was given before it. One at a time. */
  mark(): Mark;
  /** Waits until all of it is in its file. Throws what the disk does. */
  settle(): void;
}

export interface Mark {
  readonly isReached: boolean;
  /** Waits, and gives the xxh64 in hex of what was hashed before it. Throws what the disk does. */
  reach(): string;
}

export class WriterHere implements Writer {
  readonly #xxh64 = Xxh64.alone();

  begin(): void {
    this.#xxh64.reset();
  }

  write(fd: number, bytes: Uint8Array, position: number): void {
    writeAll(fd, bytes, position);
  }

  hash(bytes: Uint8Array): void {
    this.#xxh64.update(bytes);
  }

  crc32(): null {
    return null;
  }

  mark(): Mark {
    const xxh64 = this.#xxh64.digest();
    return { isReached: true, reach: () => xxh64 };
  }

  settle(): void {}
}

/** Handing over less than this takes longer than doing it. */
const LEAST_BYTES = 2 ** 13;
/** A thread that has so many commands before it is not waited for: this one works as well. */
const MOST_WAITING = 6;

const WRITE = 4;
const HASH = 5;
const DIGEST = 6;
const SUM = 7;
/** A position has more bits than a word. */
const HALF = 2 ** 30;
/** Checksums that are found and not asked for. */
const SUMS = 256;
/** Bytes from elsewhere that are hashed at a time. */
const STAGE_BYTES = 2 ** 16;

const PROGRAM = `
const fs = require("node:fs");
const { crc32 } = require("node:zlib");
const { port, failed } = workerData;
const hasFailed = new Int32Array(failed);
carryOut[${WRITE}] = (bytes, fd, high, low) => {
  if (Atomics.load(hasFailed, 0) !== 0) return;
  try {
    for (let done = 0; done < bytes.length; )
      done += fs.writeSync(fd, bytes, done, bytes.length - done, high * ${HALF} + low + done);
  } catch ({ message, code, errno, syscall }) {
    port.postMessage({ message, code, errno, syscall });
    Atomics.store(hasFailed, 0, 1);
  }
};
${XXH64_PROGRAM}
carryOut[${HASH}] = (bytes, state) => xxh64.update(state, bytes.byteOffset, bytes.length);
carryOut[${DIGEST}] = (_, state) => xxh64.digest(state);
const sums = new Uint32Array(memory.buffer);
carryOut[${SUM}] = (bytes, at) => { sums[at] = crc32(bytes); };
`;

/** What a thread has to be able to do, and how its failures come back. */
export class Writing implements Ability {
  readonly program = PROGRAM;
  readonly #failed = new Int32Array(new SharedArrayBuffer(4));
  readonly #channel = new MessageChannel();
  #error: Error | null = null;

  get data(): object {
    return { port: this.#channel.port2, failed: this.#failed.buffer };
  }

  get moved() {
    return [this.#channel.port2];
  }

  /** Throws what failed first: nothing is written after it. */
  check(): void {
    if (this.#error === null && Atomics.load(this.#failed, 0) !== 0) {
      const found: unknown = receiveMessageOnPort(this.#channel.port1)?.message;
      this.#error = Object.assign(new Error("writing failed"), found);
    }
    if (this.#error !== null) throw this.#error;
  }

  close(): void {
    this.#channel.port1.close();
  }
}

export class WriterThread implements Writer {
  readonly #lane: Lane;
  readonly #writing: Writing;
  readonly #state: number;
  readonly #xxh64: Xxh64;
  readonly #sums: Uint32Array;
  /** Who asked for each of the sums. */
  readonly #askers: LateCrc32[] = [];
  #nextSum = 0;
  /** Number of the last command of each kind: until it is carried out, the hash is the thread's alone. */
  #lastWrite = 0;
  #lastHash = 0;

  /** @param lane of a thread that has this ability */
  constructor(lane: Lane, writing: Writing) {
    this.#lane = lane;
    this.#writing = writing;
    const { blocks } = lane;
    this.#state = blocks.keep(STATE_BYTES).byteOffset;
    this.#xxh64 = new Xxh64(blocks.shared.memory, this.#state, blocks.keep(STAGE_BYTES));
    const { buffer, byteOffset } = blocks.keep(4 * SUMS);
    this.#sums = new Uint32Array(buffer, byteOffset, SUMS);
  }

  begin(): void {
    this.#lane.until(this.#lastHash);
    this.#xxh64.reset();
  }

  write(fd: number, bytes: Uint8Array, position: number): void {
    this.#writing.check();
    if (this.#isQuickerHere(bytes)) {
      writeAll(fd, bytes, position);
      return;
    }
    let at = position;
    this.#lane.blocks.placed(bytes, (placed) => {
      this.#lastWrite = this.#lane.give(WRITE, placed, fd, Math.floor(at / HALF), at % HALF);
      at += placed.length;
    });
  }

  hash(bytes: Uint8Array): void {
    if (this.#lane.isTaken(this.#lastHash) && this.#isQuickerHere(bytes)) {
      this.#xxh64.update(bytes);
      return;
    }
    this.#lane.blocks.placed(bytes, (placed) => {
      this.#lastHash = this.#lane.give(HASH, placed, this.#state);
    });
  }

  crc32(bytes: Uint8Array): LateCrc32 | null {
    const lane = this.#lane;
    if (!lane.blocks.holds(bytes) || this.#isQuickerHere(bytes)) return null;
    const [sums, at] = [this.#sums, this.#nextSum];
    this.#nextSum = (at + 1) % SUMS;
    // It keeps what it finds there, and the place is free.
    this.#askers[at]?.();
    const number = lane.give(SUM, bytes, sums.byteOffset / 4 + at);
    let sum: number | undefined;
    const found = (): number => {
      if (sum === undefined) {
        lane.until(number);
        sum = sums[at]!;
      }
      return sum;
    };
    this.#askers[at] = found;
    return found;
  }

  mark(): Mark {
    const lane = this.#lane;
    if (lane.isTaken(this.#lastHash)) {
      const xxh64 = this.#xxh64.digest();
      return this.#markAt(this.#lastWrite, () => xxh64);
    }
    this.#lastHash = lane.give(DIGEST, null, this.#state);
    return this.#markAt(this.#lastHash, () => this.#xxh64.found);
  }

  settle(): void {
    this.#lane.until(Math.max(this.#lastWrite, this.#lastHash));
    this.#writing.check();
  }

  #isQuickerHere({ length }: Uint8Array): boolean {
    return length < LEAST_BYTES || this.#lane.waiting > MOST_WAITING;
  }

  #markAt(number: number, xxh64: () => string): Mark {
    const [lane, writing] = [this.#lane, this.#writing];
    return {
      get isReached() {
        return lane.isTaken(number);
      },
      reach() {
        lane.until(number);
        writing.check();
        return xxh64();
      },
    };
  }
}
