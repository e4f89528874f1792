// The line to the thread that speaks to the Hub: questions go over it, and whoever asked waits for the answer.
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import { received } from "../base/sent-failure.ts";
import type { HubSettings } from "./settings.ts";
import {
  type Answer,
  type Ask,
  FILLED,
  HAPPENED,
  HEARTBEAT,
  type Reply,
  SLOT_BYTES,
  SLOTS,
  type ThreadData,
} from "./wire.ts";

/** A thread whose heart stood still for so long is dead. */
const DEAD_MS = 60_000;
/** From here on a signal ends the process, whoever holds it: nobody's handler can run while this thread waits. */
const LONG_MS = 1_000;
const BEAT_MS = 250;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export class Line {
  readonly #words = new Int32Array(new SharedArrayBuffer(4 * (FILLED + SLOTS)));
  readonly slots = new Uint8Array(new SharedArrayBuffer(SLOTS * SLOT_BYTES));
  readonly #port: MessagePort;
  readonly #listeners = new Map<number, (answer: Answer) => void>();
  #asked = 0;

  constructor(settings: HubSettings) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const workerData: ThreadData = { port: port2, settings, words: this.#words, slots: this.slots };
    // Beside this module, in the language that this one is in.
    const file = new URL(`./hub-thread${extname(fileURLToPath(import.meta.url))}`, import.meta.url);
    const worker = new Worker(file, {
      workerData,
      transferList: [port2],
      // What it reads goes into the slots: the rest is short-lived.
      resourceLimits: { maxYoungGenerationSizeMb: 8, maxOldGenerationSizeMb: 256 },
    });
    // A process that has nothing left to do does not wait for it.
    worker.unref();
    port1.unref();
  }

  /** @param listener told of each answer while anybody waits; the last one is "done", "failed" or the only one */
  ask(ask: Ask, listener: (answer: Answer) => void): void {
    this.#asked += 1;
    this.#listeners.set(this.#asked, listener);
    this.#port.postMessage({ id: this.#asked, ask });
  }

  /** Bytes that are there of a slot. */
  filled(slot: number): number {
    return Atomics.load(this.#words, FILLED + slot);
  }

  empty(slot: number): void {
    Atomics.store(this.#words, FILLED + slot, 0);
  }

  /** The one answer to a question. Throws what came in its place. */
  answer(ask: Ask): Exclude<Answer, { kind: "failed" }> {
    let answer: Answer | undefined;
    this.ask(ask, (each) => {
      answer = each;
    });
    this.until(() => answer !== undefined);
    if (answer === undefined) throw new Error("no answer");
    if (answer.kind === "failed") throw received(answer.failure);
    return answer;
  }

  /** Waits until something is so. Throws Error where the thread is dead. */
  until(isSo: () => boolean): void {
    let beat = Atomics.load(this.#words, HEARTBEAT);
    let alive = performance.now();
    const begun = alive;
    let restore: (() => void) | undefined;
    try {
      for (;;) {
        const seen = Atomics.load(this.#words, HAPPENED);
        this.#listen();
        if (isSo()) return;
        Atomics.wait(this.#words, HAPPENED, seen, BEAT_MS);
        const now = performance.now();
        const found = Atomics.load(this.#words, HEARTBEAT);
        if (found !== beat) [beat, alive] = [found, now];
        if (now - alive > DEAD_MS) throw new Error("the thread that speaks to the Hub is dead");
        if (now - begun > LONG_MS) restore ??= withoutHandlers();
      }
    } finally {
      restore?.();
    }
  }

  #listen(): void {
    for (let got = receiveMessageOnPort(this.#port); got !== undefined; got = receiveMessageOnPort(this.#port)) {
      const { id, answer }: Reply = got.message;
      const listener = this.#listeners.get(id);
      if (answer.kind !== "head") this.#listeners.delete(id);
      listener?.(answer);
    }
  }
}

/** Leaves signals to the system. Gives what puts their handlers back. */
function withoutHandlers(): () => void {
  // The first process of a container has to handle them itself.
  if (process.pid === 1) return () => undefined;
  const kept = SIGNALS.map((name) => [name, process.rawListeners(name)] as const);
  for (const [name] of kept) process.removeAllListeners(name);
  return () => {
    for (const [name, handlers] of kept) for (const handler of handlers) process.on(name, () => handler());
  };
}
