// Who brings bytes into files: this thread at once, or another one beside the work, from shared blocks.
import { MessageChannel, receiveMessageOnPort } from "node:worker_threads";
import type { Ability, Lane } from "../../base/threads/lane.ts";
import { writeAll } from "./bytes.ts";

export interface Writer {
  /** Bytes to a position of an open file; they may be written over when this returns. Throws what the disk does, of earlier calls too. */
  write(fd: number, bytes: Uint8Array, position: number): void;
  /** Waits until all of it is in its file. Throws what the disk does. */
  settle(): void;
}

export const WRITER_HERE: Writer = {
  write: (fd, bytes, position) => writeAll(fd, bytes, position),
  settle: () => undefined,
};

/** Handing over less than this takes longer than writing it. */
const LEAST_BYTES = 2 ** 13;
/** A thread that has so many commands before it is not waited for: this one writes as well. */
const MOST_WAITING = 3;

const WRITE = 4;
/** A position has more bits than a word. */
const HALF = 2 ** 30;

const PROGRAM = `
const fs = require("node:fs");
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
  /** Number of the last command. */
  #last = 0;

  /** @param lane of a thread that has this ability */
  constructor(lane: Lane, writing: Writing) {
    this.#lane = lane;
    this.#writing = writing;
  }

  write(fd: number, bytes: Uint8Array, position: number): void {
    this.#writing.check();
    if (bytes.length < LEAST_BYTES || this.#lane.waiting > MOST_WAITING) {
      writeAll(fd, bytes, position);
      return;
    }
    let at = position;
    this.#lane.blocks.placed(bytes, (placed) => {
      this.#last = this.#lane.give(WRITE, placed, fd, Math.floor(at / HALF), at % HALF);
      at += placed.length;
    });
  }

  settle(): void {
    this.#lane.until(this.#last);
    this.#writing.check();
  }
}
