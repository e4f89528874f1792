// Several threads that carry out one plan: each has planned it again, takes what nobody has taken, and writes it to its
// place. The first thread follows in order (docs/decisions/032).
import { Worker } from "node:worker_threads";
import { received } from "../../base/sent-failure.ts";
import { witness } from "../../base/witness.ts";
import type { SumPiece } from "../../formats/checksums.ts";
import { SharedSums } from "../../formats/zip/shared-sums.ts";
import type { Crew } from "../../output/write/ahead.ts";
import { planDigestOf } from "../inputs.ts";
import type { ConversionPlan } from "../plan.ts";
import {
  type CrewData,
  type Done,
  FOLLOWED,
  type Message,
  MOST_BYTES,
  type PlannedFrom,
  UNIT_BYTES,
  WORDS,
} from "./messages.ts";
import { type Tasks, tasksOf } from "./tasks.ts";

/** How other threads come to the same plan. */
export interface CrewOptions {
  /** Module of a thread, which calls `serveCrew`. */
  readonly module: string;
  readonly from: PlannedFrom;
}

interface CrewWork {
  readonly plan: ConversionPlan;
  readonly signal: AbortSignal | undefined;
  /** What became of values, in the order of the output. */
  readonly onCasts: (casts: Done["casts"]) => void;
}

export class ThreadCrew implements Crew {
  /** CRC-32 of what the threads read. */
  readonly sums = new SharedSums();
  /** What they could not check of it. */
  notChecked: string | null = null;
  readonly #work: CrewWork;
  readonly #words = new Int32Array(new SharedArrayBuffer(4 * WORDS));
  readonly #threads: readonly Worker[];
  /** Threads that have nothing more to do. */
  readonly #ended = new Set<Worker>();
  readonly #seen = witness();
  #tasks: Tasks = { all: [], begins: [] };
  /** By number, until they are followed. */
  readonly #done = new Map<number, Done>();
  #count = 0;
  /** First task that is not followed. */
  #next = 0;
  #failure: Error | null = null;
  #wake: () => void = () => undefined;

  constructor({ module, from }: CrewOptions, work: CrewWork) {
    this.#work = work;
    const workerData: CrewData = { from, digest: planDigestOf(work.plan), words: this.#words };
    this.#threads = Array.from({ length: work.plan.memory.workers }, () => this.#thread(module, workerData));
    work.signal?.addEventListener("abort", () => this.#wake(), { once: true });
  }

  #thread(module: string, workerData: CrewData): Worker {
    const thread = new Worker(module, { workerData, execArgv: [] });
    thread.on("message", (message: Message) => {
      if (message.kind === "end") this.#ended.add(thread);
      this.#take(message);
    });
    thread.on("error", (error) => this.#fail(error));
    thread.on("exit", (code) => {
      if (!this.#ended.has(thread)) this.#fail(new Error(`a thread of the conversion ended with ${code}`));
    });
    return thread;
  }

  start(out: string, kept: readonly number[]): void {
    this.#tasks = tasksOf(this.#work.plan, kept);
    for (const thread of this.#threads) thread.postMessage({ out, kept });
  }

  async written(index: number, end: number): Promise<readonly SumPiece[]> {
    const sums: SumPiece[] = [];
    for (; ; this.#next += 1) {
      const task = this.#tasks.all[this.#next];
      if (task === undefined) return sums;
      // What is only hashed is waited for at the end.
      if (task.kind === "hash") continue;
      if (task.write.file !== index || task.write.begin >= end) return sums;
      const number = this.#next;
      await this.#until(() => this.#done.has(number));
      const done = this.#done.get(number)!;
      this.#done.delete(number);
      this.#work.onCasts(done.casts);
      sums.push(...done.sums);
      this.#followed(this.#tasks.begins[number]!);
    }
  }

  #followed(bytes: number): void {
    Atomics.store(this.#words, FOLLOWED, Math.floor(bytes / UNIT_BYTES));
    Atomics.notify(this.#words, FOLLOWED);
  }

  /** When everything is done. */
  async finish(): Promise<void> {
    this.#followed(MOST_BYTES);
    await this.#until(() => this.#count === this.#tasks.all.length && this.#ended.size === this.#threads.length);
  }

  async stop(): Promise<void> {
    this.#fail(new Error("the conversion was stopped"));
    await Promise.all(this.#threads.map((thread) => thread.terminate()));
  }

  async #until(isSo: () => boolean): Promise<void> {
    for (;;) {
      if (this.#failure !== null) throw this.#failure;
      this.#work.signal?.throwIfAborted();
      if (isSo()) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #take(message: Message): void {
    for (const { path, bytes, version, count } of message.reads)
      this.#seen?.elsewhere(path, bytes, version).covers(count);
    switch (message.kind) {
      case "done":
        this.#count += 1;
        if (this.#tasks.all[message.task]?.kind === "write") this.#done.set(message.task, message);
        for (const [id, sha256] of message.sha256) this.#work.plan.seal?.given(id, sha256);
        break;
      case "end":
        this.sums.take(message.records);
        this.notChecked ??= message.notChecked;
        break;
      case "failed":
        this.#fail(received(message.failure));
        break;
      default:
        message satisfies never;
    }
    this.#wake();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }
}
