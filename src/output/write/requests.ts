// What the disk is asked for while a file grows: one request at a time, each once all before it is written.
import fs from "node:fs";
import type { FileProgress } from "../journal.ts";
import { writeError, writing } from "../staging-errors.ts";
import type { Mark } from "./writer.ts";

export interface RequestJob {
  readonly path: string;
  readonly fsync: boolean;
  readonly onDurable: (progress: FileProgress) => void;
}

interface Asked {
  readonly call: "fdatasync" | "fsync";
  readonly bytes: number;
  readonly mark: Mark;
  readonly answer: (answered: Promise<void>) => void;
}

export class Requests {
  readonly #job: RequestJob;
  readonly #fd: number;
  /** Not begun: somebody has yet to write what it is for. */
  #asked: Asked | null = null;
  #answer: Promise<void> = Promise.resolve();

  constructor(job: RequestJob, fd: number) {
    this.#job = job;
    this.#fd = fd;
  }

  /**
   * Whoever writes is not waited for: the disk is asked as soon as it is seen that they came so far. The one before must be answered.
   * @param bytes that are durable then
   */
  ask(call: Asked["call"], bytes: number, mark: Mark): void {
    this.#answer = new Promise((answer) => {
      this.#asked = { call, bytes, mark, answer };
    });
    // A failure surfaces where it is awaited.
    this.#answer.catch(() => undefined);
    this.look();
  }

  look(): void {
    if (this.#asked?.mark.isReached) this.#begin(this.#asked);
  }

  /** Waits for what was asked. Throws what the disk does. */
  async answered(): Promise<void> {
    if (this.#asked !== null) this.#begin(this.#asked);
    await this.#answer;
  }

  /** Waits for what is under way, whatever becomes of it; what is not begun is left. */
  async settle(): Promise<void> {
    this.#asked?.answer(Promise.resolve());
    this.#asked = null;
    await this.#answer.catch(() => undefined);
  }

  #begin(asked: Asked): void {
    this.#asked = null;
    asked.answer(this.#carryOut(asked));
  }

  async #carryOut({ call, bytes, mark }: Asked): Promise<void> {
    const { fsync, path, onDurable } = this.#job;
    const xxh64 = writing(path, () => mark.reach());
    if (fsync) {
      await new Promise<void>((resolve, reject) => {
        fs[call](this.#fd, (error) => (error ? reject(writeError(error, path)) : resolve()));
      });
    }
    onDurable({ bytes, xxh64 });
  }
}
