// Writes one planned file, or a range of it, in ascending order, hashed on the way and made durable while it grows.
import fs from "node:fs";
import { setImmediate } from "node:timers/promises";
import { Checksums, type SumPiece } from "../../formats/checksums.ts";
import { type OutputFile, type OutputPart, type PlacedPart, partsWithin } from "../../formats/output.ts";
import type { Sink } from "../../views/gather.ts";
import type { FileProgress } from "../journal.ts";
import { writing } from "../staging-errors.ts";
import { cut, cutShort, partialChanged } from "./bytes.ts";
import { Requests } from "./requests.ts";
import { type Mark, type Writer, WriterHere } from "./writer.ts";

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
/** The largest element. */
const ELEMENT_BYTES = 8;
/** After this time, signals have their turn. */
const TURN_MS = 100;

export interface FileJob {
  readonly path: string;
  readonly file: OutputFile;
  /**
   * Which bytes of the file are written, between elements of tensors; all of them unless given. Others may write the rest at
   * the same time, so what is made of bytes elsewhere is left out.
   */
  readonly range?: readonly [begin: number, end: number];
  readonly produce: Produce;
  /** This thread unless given. */
  readonly writer?: Writer | undefined;
  readonly fsync: boolean;
  readonly stepBytes: number;
  /** What an earlier run left of this file, or of the same range. */
  readonly done: FileProgress | undefined;
  /**
   * Resolves when others have written the file's tensors up to a byte of it, with what they found: then they are only read
   * here. The file is there, cut to what is kept.
   */
  readonly ahead?: ((end: number) => Promise<readonly SumPiece[]>) | undefined;
  /** Given every byte that is written in order, those of an earlier run too. */
  readonly onBytes?: ((bytes: Uint8Array) => void) | undefined;
  /** Bytes that are written now, after each step. */
  readonly onProgress: (bytes: number) => void;
  /** Called when the bytes up to a point are on disk. */
  readonly onDurable: (progress: FileProgress) => void;
  readonly signal: AbortSignal | undefined;
}

export interface Written {
  /** In hex, of what was written. */
  readonly xxh64: string;
  /** What is known of the file's checksums. */
  readonly sums: readonly SumPiece[];
  /** Bytes [begin, end) of the file that were left out, in ascending order. */
  readonly left: readonly (readonly [begin: number, end: number])[];
}

/** Throws what `produce` throws, and errors of the disk as ours. */
export async function writeOutputFile(job: FileJob): Promise<Written> {
  const fd = writing(job.path, () => fs.openSync(job.path, flagsOf(job)));
  const writer = new FileWriter(job, fd);
  try {
    return await writer.run();
  } finally {
    await writer.settle();
    fs.closeSync(fd);
  }
}

function flagsOf({ range, done, ahead }: FileJob): string | number {
  // Whoever comes first creates it.
  if (range !== undefined) return fs.constants.O_RDWR | fs.constants.O_CREAT;
  // What is written is read again.
  return done === undefined && ahead === undefined ? "wx" : "r+";
}

/** A part, and which of its bytes are written. */
interface Piece extends PlacedPart {
  readonly from: number;
  readonly to: number;
}

class FileWriter {
  readonly #job: FileJob;
  readonly #fd: number;
  readonly #writer: Writer;
  readonly #requests: Requests;
  readonly #sums: Checksums;
  readonly #left: [number, number][] = [];
  readonly #begin: number;
  readonly #end: number;
  /** End of what is written and hashed, as all positions here in the file. */
  #at: number;
  /** End of what the last request to the disk covers. */
  #requested: number;
  #buffer: Uint8Array | undefined;
  #turnedAt = performance.now();

  constructor(job: FileJob, fd: number) {
    this.#job = job;
    this.#fd = fd;
    this.#writer = job.writer ?? new WriterHere();
    this.#writer.begin();
    this.#requests = new Requests(job, fd);
    this.#sums = new Checksums(job.file);
    [this.#begin, this.#end] = job.range ?? [0, job.file.byteLength];
    this.#at = this.#begin;
    this.#requested = this.#begin;
  }

  async run(): Promise<Written> {
    const { file, done } = this.#job;
    if (done !== undefined) this.#open(done);
    const kept = this.#begin + (done?.bytes ?? 0);
    for (const placed of partsWithin(file, this.#begin, this.#end)) {
      const begin = Math.max(this.#begin, placed.begin);
      const end = Math.min(this.#end, placed.end);
      const middle = Math.min(end, Math.max(begin, kept));
      const piece = (from: number, to: number): Piece => ({
        ...placed,
        from: from - placed.begin,
        to: to - placed.begin,
      });
      if (this.#isLeft(placed.part)) this.#leave(end);
      else {
        if (begin < middle) await this.#replay(piece(begin, middle));
        if (begin < middle && middle === kept) this.#checkReplay(done!);
        if (middle < end) await this.#write(piece(middle, end));
      }
      if (this.#at !== end) throw new Error(`${file.name}: a part of ${end - begin} bytes got ${this.#at - begin}`);
      await this.#step();
    }
    return { xxh64: await this.#finish(), sums: this.#sums.pieces, left: this.#left };
  }

  /** Whether others hold what a part is made of. */
  #isLeft(part: OutputPart): boolean {
    if (this.#job.range === undefined) return false;
    return part.kind === "late" || (part.kind === "sums" && !this.#sums.canMake(part));
  }

  #leave(end: number): void {
    this.#left.push([this.#at, end]);
    this.#at = end;
  }

  /** Waits for what is under way, whatever becomes of it: nobody may write to a descriptor that is closed. */
  async settle(): Promise<void> {
    await this.#requests.settle();
    try {
      this.#writer.settle();
    } catch {
      // It was thrown where it was waited for.
    }
  }

  #open({ bytes }: FileProgress): void {
    const { path, range, ahead } = this.#job;
    const end = this.#begin + bytes;
    if (end > this.#end || fs.fstatSync(this.#fd).size < end) throw partialChanged(path);
    if (range === undefined && ahead === undefined) cut(path, this.#fd, bytes, this.#end);
    this.#requested = end;
  }

  /** Takes bytes of a part from the file itself. */
  async #replay(piece: Piece): Promise<void> {
    this.#buffer ??= new Uint8Array(REPLAY_BYTES);
    for (let left = piece.to - piece.from; left > 0; ) {
      const count = fs.readSync(this.#fd, this.#buffer, 0, Math.min(left, this.#buffer.length), this.#at);
      if (count === 0) throw partialChanged(this.#job.path);
      this.#take(piece, this.#buffer.subarray(0, count));
      left -= count;
      this.#tell();
      await setImmediate();
      this.#job.signal?.throwIfAborted();
    }
  }

  #checkReplay({ xxh64 }: FileProgress): void {
    if (this.#writer.mark().reach() !== xxh64) throw partialChanged(this.#job.path);
  }

  async #write(piece: Piece): Promise<void> {
    const { part, from, to } = piece;
    const sink: Sink = (bytes) => this.#sink(piece, bytes);
    switch (part.kind) {
      case "bytes":
        return sink(part.bytes.subarray(from, to));
      case "sums":
        return sink(this.#sums.make(part).subarray(from, to));
      case "late":
        return sink((await part.make()).subarray(from, to));
      case "copy":
        return this.#copy(part, from, to, sink);
      case "tensor":
        if (this.#job.ahead !== undefined) return this.#follow(piece, this.#job.ahead);
        return this.#produce(part, part.begin + from, part.begin + to, sink);
      default:
        return part satisfies never;
    }
  }

  /** Reads what others wrote: it is hashed as it is there. */
  async #follow(piece: Piece, ahead: NonNullable<FileJob["ahead"]>): Promise<void> {
    this.#buffer ??= new Uint8Array(REPLAY_BYTES);
    const end = this.#at + piece.to - piece.from;
    for (const sum of await ahead(end)) this.#sums.add(sum);
    while (this.#at < end) {
      const bytes = this.#buffer.subarray(0, Math.min(end - this.#at, this.#buffer.length));
      if (fs.readSync(this.#fd, bytes, 0, bytes.length, this.#at) < bytes.length) throw cutShort(this.#job.path);
      this.#pass(bytes);
      this.#tell();
      if (performance.now() - this.#turnedAt > TURN_MS) await this.#turn();
      await this.#step();
    }
  }

  async #copy({ read }: OutputPart & { kind: "copy" }, from: number, to: number, sink: Sink): Promise<void> {
    this.#buffer ??= new Uint8Array(REPLAY_BYTES);
    for (let at = from; at < to; ) {
      const bytes = this.#buffer.subarray(0, Math.min(to - at, this.#buffer.length));
      read(at, bytes);
      sink(bytes);
      at += bytes.length;
      if (performance.now() - this.#turnedAt > TURN_MS) await this.#turn();
      await this.#step();
    }
  }

  /** In pieces that are larger where bytes come quickly, and smaller where they have to be encoded. */
  async #produce(
    { key, end: most }: OutputPart & { kind: "tensor" },
    from: number,
    end: number,
    sink: Sink,
  ): Promise<void> {
    const { produce, stepBytes } = this.#job;
    const first = Math.min(FIRST_PIECE, stepBytes);
    let piece = first;
    for (let begin = from; begin < end; ) {
      // Not beyond the next request to the disk, and between elements.
      const room = this.#requested + stepBytes - this.#at;
      const whole = begin - (begin % ELEMENT_BYTES);
      const next = Math.min(end, whole + piece, whole + Math.ceil(room / first) * first);
      const started = performance.now();
      const over = Math.min(most, Math.ceil(next / ELEMENT_BYTES) * ELEMENT_BYTES);
      produce(key, whole, over, begin === whole && next === over ? sink : trimmed(sink, begin - whole, next - begin));
      const now = performance.now();
      if (now - started > TURN_MS) piece = Math.max(first, piece / 4);
      else if (now - started < TURN_MS / 4) piece = Math.min(stepBytes, 4 * piece);
      if (now - this.#turnedAt > TURN_MS) await this.#turn();
      await this.#step();
      begin = next;
    }
  }

  #sink(piece: Piece, bytes: Uint8Array): void {
    writing(this.#job.path, () => this.#writer.write(this.#fd, bytes, this.#at));
    this.#take(piece, bytes);
    this.#tell();
  }

  #take({ part, begin, sumBegin }: Piece, bytes: Uint8Array): void {
    if (part.kind === "tensor" && part.sum !== undefined)
      this.#sums.update(part.sum, sumBegin + this.#at - begin, bytes, (given) => this.#writer.crc32(given));
    this.#pass(bytes);
  }

  #pass(bytes: Uint8Array): void {
    this.#writer.hash(bytes);
    this.#job.onBytes?.(bytes);
    this.#at += bytes.length;
  }

  #tell(): void {
    this.#requests.look();
    this.#job.onProgress(this.#at - this.#begin);
  }

  /** Asks the disk for what has gathered; at most one request is under way. Lets other events have their turn. */
  async #step(): Promise<void> {
    if (this.#at - this.#requested < this.#job.stepBytes) return;
    await this.#ask("fdatasync");
    await this.#turn();
  }

  async #turn(): Promise<void> {
    await setImmediate();
    this.#turnedAt = performance.now();
    this.#job.signal?.throwIfAborted();
  }

  /** Returns the digest of all. */
  async #finish(): Promise<string> {
    const mark = await this.#ask("fsync");
    await this.#requests.answered();
    return mark.reach();
  }

  async #ask(call: "fdatasync" | "fsync"): Promise<Mark> {
    await this.#requests.answered();
    const mark = this.#writer.mark();
    this.#requested = this.#at;
    this.#requests.ask(call, this.#at - this.#begin, mark);
    return mark;
  }
}

/** Of what is given to it, bytes [begin, begin + length) alone go on: a range may begin or end within an element. */
function trimmed(sink: Sink, begin: number, length: number): Sink {
  let at = -begin;
  return (bytes) => {
    const wanted = bytes.subarray(Math.max(0, -at), Math.max(0, Math.min(bytes.length, length - at)));
    at += bytes.length;
    if (wanted.length > 0) sink(wanted);
  };
}
