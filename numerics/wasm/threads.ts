// Threads that share one WebAssembly memory. Work that is not worth sending runs where it is asked for.
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { CHAIN, CHUNK, type Job, jobRunner, QUERY_BLOCK, type Workshop, X_BLOCK } from "./jobs.ts";
import { type OnnxJob, type OnnxRuntime, onnxRunner } from "./onnx.ts";
import { SIMD_KERNELS } from "./simd-kernels.ts";

const PAGE = 65_536;
/** Of a 32-bit address space. */
const MAX_PAGES = 65_536;
/** Multiply-adds from which a message to another thread is worth its while. */
const WORTH_SENDING = 1 << 20;

/** The function's own text: nothing has to be found beside a bundle, and TypeScript needs no loader in the thread. */
const WORKER = `const { parentPort, workerData } = require("node:worker_threads");
const run = (${jobRunner.toString()})(workerData.workshop);
let multiply;
parentPort.on("message", async (job) => {
  try {
    if (job.kind === "onnx") await (multiply ??= (${onnxRunner.toString()})(workerData.library, require))(job);
    else run(job);
    parentPort.postMessage(null);
  } catch (error) { parentPort.postMessage(String(error?.stack ?? error)); }
});`;

/** [0, count) in at most `parts` ranges about as long; all but the last are multiples of `multiple`. */
export function shares(count: number, multiple: number, parts: number): [number, number][] {
  const units = Math.ceil(count / multiple);
  const ends = Array.from({ length: parts + 1 }, (_, i) => Math.min(count, multiple * Math.floor((units * i) / parts)));
  ends[parts] = count;
  return ends.slice(1).flatMap((end, i): [number, number][] => (end > ends[i]! ? [[ends[i]!, end]] : []));
}

export class Threads {
  readonly count: number;
  private readonly memory = new WebAssembly.Memory({ initial: 1, maximum: MAX_PAGES, shared: true });
  private readonly workshop: Workshop = {
    module: new WebAssembly.Module(Buffer.from(SIMD_KERNELS, "base64")),
    memory: this.memory,
    xBlock: X_BLOCK,
    queryBlock: QUERY_BLOCK,
    attentionChain: CHAIN,
    chunk: CHUNK,
  };
  private readonly here = jobRunner(this.workshop);
  private threads: Thread[] = [];

  /** @param count threads that work at a time; one works without any other than the caller's, but for a library */
  constructor(
    count = availableParallelism(),
    readonly library: OnnxRuntime | null = null,
  ) {
    this.count = count;
  }

  get bytes(): number {
    return this.memory.buffer.byteLength;
  }

  /** The memory that jobs name by addresses, at least `length` bytes; a view lasts until the next call. */
  reserve(length: number): Uint8Array {
    const missing = length - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / PAGE));
    return new Uint8Array(this.memory.buffer);
  }

  /** At most `count` jobs at once. @param cost multiply-adds of all of them */
  async run(jobs: readonly Job[], cost: number): Promise<void> {
    if (this.count === 1 || jobs.length === 1 || cost < WORTH_SENDING) {
      for (const job of jobs) this.here(job);
      return;
    }
    await this.send(jobs);
  }

  /** As `run`, always in other threads: a library's calls block. */
  runOnnx(jobs: readonly OnnxJob[]): Promise<void> {
    return this.send(jobs);
  }

  async close(): Promise<void> {
    const threads = this.threads;
    this.threads = [];
    await Promise.all(threads.map((thread) => thread.terminate()));
  }

  private async send(jobs: readonly (Job | OnnxJob)[]): Promise<void> {
    while (this.threads.length < jobs.length) {
      this.threads.push(new Thread({ workshop: this.workshop, library: this.library }));
    }
    const ends = await Promise.allSettled(jobs.map((job, i) => this.threads[i]!.run(job)));
    const failed = ends.find((end) => end.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }
}

/** Does jobs one after the other. An idle thread does not keep the process; one at work does. */
class Thread {
  private readonly worker: Worker;
  /** Of the jobs that were sent, in order. */
  private readonly waiting: ((failure: unknown) => void)[] = [];
  /** Why no job comes to an end here any more. */
  private stopped: string | null = null;
  /** When the last job that was sent has come to its end, well or not. */
  private done: Promise<unknown> = Promise.resolve();

  constructor(workerData: { readonly workshop: Workshop; readonly library: OnnxRuntime | null }) {
    this.worker = new Worker(WORKER, { eval: true, workerData });
    this.worker.unref();
    this.worker.on("message", (answer) => this.settle(answer));
    // An exit follows.
    this.worker.on("error", (error) => this.settle(error));
    this.worker.on("exit", (code) => {
      this.stopped = `a thread of the wasm backend stopped with code ${code}`;
      while (this.waiting.length > 0) this.settle(this.stopped);
    });
  }

  run(job: Job | OnnxJob): Promise<void> {
    const end = new Promise<void>((resolve, reject) => {
      if (this.stopped !== null) throw new Error(this.stopped);
      this.worker.postMessage(job);
      this.worker.ref();
      this.waiting.push((failure) => {
        if (failure === null) resolve();
        else reject(failure instanceof Error ? failure : new Error(String(failure)));
      });
    });
    this.done = end.catch(() => {});
    return end;
  }

  private settle(failure: unknown): void {
    this.waiting.shift()?.(failure);
    if (this.waiting.length === 0) this.worker.unref();
  }

  /** A thread that is ended within a call of the native library takes the process with it. */
  async terminate(): Promise<void> {
    await this.done;
    await this.worker.terminate();
  }
}
