// Writes one planned file, in ascending order, hashed on the way and made durable while it grows.
import fs from "node:fs";
import { setImmediate } from "node:timers/promises";
import { createXXHash64 } from "hash-wasm";
import { InputError } from "../base/errors.ts";
import type { OutputFile, OutputPart } from "../formats/output.ts";
import type { Sink } from "../views/gather.ts";
import type { FileProgress } from "./journal.ts";
import { writeError, writing } from "./staging-errors.ts";

/** Gives row-major bytes [begin, end) of a target tensor to `sink`, in ascending order. */
export type Produce = (key: string, begin: number, end: number, sink: Sink) => void;

/**
 * Bytes between two requests to the disk. Smaller steps cost time, larger ones leave much to wait for at the end.
 * A multiple of 8, so that steps fall between elements.
 */
export const STEP_BYTES = 2 ** 26;
const REPLAY_BYTES = 2 ** 20;
/** Bytes of a tensor that are produced first: few, because a scale may stand for thousands of values. */
const FIRST_PIECE = 2 ** 12;
/** After this time, signals have their turn. */
const TURN_MS = 100;

export interface FileJob {
  readonly path: string;
  readonly file: OutputFile;
  readonly produce: Produce;
  readonly fsync: boolean;
  readonly stepBytes: number;
  /** What an earlier run left of this file. */
  readonly done: FileProgress | undefined;
  /** Given every byte of the file in order, those of an earlier run too. */
  readonly onBytes?: ((bytes: Uint8Array) => void) | undefined;
  /** Bytes that are in the file now, after each step. */
  readonly onProgress: (bytes: number) => void;
  /** Called when the bytes up to a point are on disk. */
  readonly onDurable: (progress: FileProgress) => void;
  readonly signal: AbortSignal | undefined;
}

/** Writes the file and gives its xxh64 in hex. Throws what `produce` throws, and errors of the disk as ours. */
export async function writeOutputFile(job: FileJob): Promise<string> {
  const flags = job.done === undefined ? "wx" : "r+";
  const fd = writing(job.path, () => fs.openSync(job.path, flags));
  const writer = new FileWriter(job, fd, await createXXHash64());
  try {
    return await writer.run();
  } finally {
    await writer.settle();
    fs.closeSync(fd);
  }
}

type Hasher = Awaited<ReturnType<typeof createXXHash64>>;

class FileWriter {
  readonly #job: FileJob;
  readonly #fd: number;
  readonly #hasher: Hasher;
  /** End of what is written and hashed. */
  #at = 0;
  /** End of what the last request to the disk covers. */
  #requested = 0;
  #sync: Promise<unknown> = Promise.resolve();
  #buffer: Uint8Array | undefined;
  #turnedAt = performance.now();

  constructor(job: FileJob, fd: number, hasher: Hasher) {
    this.#job = job;
    this.#fd = fd;
    this.#hasher = hasher;
  }

  async run(): Promise<string> {
    const { file, done, path } = this.#job;
    if (done !== undefined) this.#open(done);
    for (const part of file.parts) {
      const length = lengthOf(part);
      const end = this.#at + length;
      const kept = Math.max(0, Math.min(length, (done?.bytes ?? 0) - this.#at));
      if (kept > 0) await this.#replay(part, kept);
      if (kept > 0 && this.#at === done?.bytes) this.#checkReplay(done);
      if (kept < length) await this.#writePart(part, kept);
      if (this.#at !== end) throw new Error(`${path}: a part of ${length} bytes got ${this.#at - end + length}`);
      await this.#step();
    }
    await this.#finish();
    return this.#hasher.digest("hex");
  }

  /** Waits for a request that is under way, whatever becomes of it. */
  async settle(): Promise<void> {
    await this.#sync.catch(() => undefined);
  }

  #open({ bytes }: FileProgress): void {
    if (bytes > this.#job.file.byteLength || fs.fstatSync(this.#fd).size < bytes) this.#failPartial();
    writing(this.#job.path, () => fs.ftruncateSync(this.#fd, bytes));
    this.#requested = bytes;
  }

  /** Takes the first bytes of a part from the file itself. */
  async #replay(part: OutputPart, length: number): Promise<void> {
    this.#buffer ??= new Uint8Array(REPLAY_BYTES);
    // Called because later parts may depend on what it computes. Its bytes are in the file already.
    if (part.kind === "late") {
      await part.ready?.();
      part.make();
    }
    for (let left = length; left > 0; ) {
      const count = fs.readSync(this.#fd, this.#buffer, 0, Math.min(left, this.#buffer.length), this.#at);
      if (count === 0) this.#failPartial();
      this.#take(part, this.#buffer.subarray(0, count));
      left -= count;
      this.#job.onProgress(this.#at);
      await setImmediate();
      this.#job.signal?.throwIfAborted();
    }
  }

  #checkReplay({ xxh64 }: FileProgress): void {
    if (this.#digest() !== xxh64) this.#failPartial();
  }

  #failPartial(): never {
    const { path } = this.#job;
    throw new InputError("PARTIAL_CHANGED", `${path}: no longer holds what an earlier run wrote`, {
      file: path,
      help: "run again without --resume",
    });
  }

  async #writePart(part: OutputPart, from: number): Promise<void> {
    const sink: Sink = (bytes) => this.#write(part, bytes);
    if (part.kind === "bytes") sink(part.bytes);
    else if (part.kind === "late") {
      await part.ready?.();
      sink(part.make());
    } else await this.#produce(part, part.begin + from, sink);
  }

  /** In pieces that are larger where bytes come quickly, and smaller where they have to be encoded. */
  async #produce({ key, end }: OutputPart & { kind: "tensor" }, from: number, sink: Sink): Promise<void> {
    const { produce, stepBytes } = this.#job;
    const first = Math.min(FIRST_PIECE, stepBytes);
    let piece = first;
    for (let begin = from; begin < end; ) {
      // Not beyond the next request to the disk, and between elements.
      const room = this.#requested + stepBytes - this.#at;
      const next = Math.min(end, begin + piece, begin + Math.ceil(room / first) * first);
      const started = performance.now();
      produce(key, begin, next, sink);
      const now = performance.now();
      if (now - started > TURN_MS) piece = Math.max(first, piece / 4);
      else if (now - started < TURN_MS / 4) piece = Math.min(stepBytes, 4 * piece);
      if (now - this.#turnedAt > TURN_MS) await this.#turn();
      await this.#step();
      begin = next;
    }
  }

  #write(part: OutputPart, bytes: Uint8Array): void {
    const { path, onProgress } = this.#job;
    for (let done = 0; done < bytes.length; ) {
      done += writing(path, () => fs.writeSync(this.#fd, bytes, done, bytes.length - done, this.#at + done));
    }
    this.#take(part, bytes);
    onProgress(this.#at);
  }

  #take(part: OutputPart, bytes: Uint8Array): void {
    this.#hasher.update(bytes);
    this.#job.onBytes?.(bytes);
    if (part.kind === "tensor") part.observe?.(bytes);
    this.#at += bytes.length;
  }

  /** Asks the disk for what has gathered; at most one request is under way. Lets other events have their turn. */
  async #step(): Promise<void> {
    if (this.#at - this.#requested < this.#job.stepBytes) return;
    await this.#sync;
    this.#requested = this.#at;
    this.#sync = this.#request("fdatasync");
    // A failure surfaces where it is awaited.
    this.#sync.catch(() => undefined);
    await this.#turn();
  }

  async #turn(): Promise<void> {
    await setImmediate();
    this.#turnedAt = performance.now();
    this.#job.signal?.throwIfAborted();
  }

  async #finish(): Promise<void> {
    await this.#sync;
    await this.#request("fsync");
  }

  async #request(call: "fdatasync" | "fsync"): Promise<void> {
    const { fsync, path, onDurable } = this.#job;
    const progress = { bytes: this.#at, xxh64: this.#digest() };
    if (fsync) {
      await new Promise<void>((resolve, reject) => {
        fs[call](this.#fd, (error) => (error ? reject(writeError(error, path)) : resolve()));
      });
    }
    onDurable(progress);
  }

  /** Of what is hashed so far. The hasher's state itself holds more: what it was given at a time leaves traces. */
  #digest(): string {
    const state = this.#hasher.save();
    const digest = this.#hasher.digest("hex");
    this.#hasher.load(state);
    return digest;
  }
}

export function lengthOf(part: OutputPart): number {
  switch (part.kind) {
    case "bytes":
      return part.bytes.length;
    case "tensor":
      return part.end - part.begin;
    case "late":
      return part.byteLength;
    default:
      return part satisfies never;
  }
}
