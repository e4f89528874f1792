// What was fetched of payloads and is not read yet: a window of some megabytes, whatever the files. The thread writes into it
// while the reader is at work. A byte is asked for when it is known to be read, so that none is fetched for nothing.
import { received, type SentFailure } from "../base/sent-failure.ts";
import type { Line } from "./line.ts";
import { type RemoteFile, SLOT_BYTES, SLOTS } from "./wire.ts";

/** The largest request. Each costs the Hub an answer, and it counts them. */
const REQUEST_SLOTS = 8;
/** What is asked for before it is read: three requests under way at a time. */
const AHEAD_SLOTS = 24;
/** A read of so much is one of a run: single rows are smaller. */
const RUN_BYTES = 1 << 17;
/** What a lonely small read asks for: little more time than for less, and its neighbours are often next. */
const LEAST_BYTES = 1 << 18;
/** Reads so close to each other are a run with gaps. */
const GAP_BYTES = 1 << 16;
/** A run that grows asks for so many times what it had. */
const GROWTH = 4;
/** A stream that was not read for so many slots' time is over. */
const RECENT = 64;

/** Bytes of a file that one slot holds, or will. */
interface Extent {
  readonly slot: number;
  readonly file: string;
  readonly begin: number;
  readonly end: number;
  readonly request: Request;
  /** Up to where it was read. */
  read: number;
  /** When it was last entered. */
  used: number;
}

interface Request {
  /** Bytes that its run had up to its end. */
  readonly run: number;
  failure: SentFailure | null;
  isDone: boolean;
}

interface Stretch {
  readonly file: RemoteFile;
  readonly begin: number;
  readonly end: number;
  /** Up to where more of it will be read. */
  readonly goal: number;
  readonly run: number;
}

/** What the window needs of the line to the thread. */
export type Filler = Pick<Line, "ask" | "until" | "filled" | "empty" | "slots">;

export class Window {
  readonly #line: Filler;
  readonly #extents = new Set<Extent>();
  /** When each stream was last read: a file, and where its reader is going to end. */
  readonly #streams = new Map<string, number>();
  #last: Extent | undefined;
  #clock = 0;

  constructor(line: Filler) {
    this.#line = line;
  }

  /** @param until where the reader will end, if it goes on; undefined where nobody knows */
  read(file: RemoteFile, position: number, target: Uint8Array, until: number | undefined): void {
    const end = position + target.length;
    for (let at = position; at < end; ) {
      const extent = this.#entered(file, at, end, until);
      const last = Math.min(end, extent.end);
      this.#wait(extent, last);
      const from = extent.slot * SLOT_BYTES + at - extent.begin;
      target.set(this.#line.slots.subarray(from, from + last - at), at - position);
      extent.read = Math.max(extent.read, last);
      at = last;
    }
    // Another stream's turn to go far ahead.
    if (end === until) this.#streams.delete(`${file.key} ${until}`);
  }

  /** The extent that holds this byte. What the reader needs next was asked for by then. */
  #entered(file: RemoteFile, at: number, end: number, until: number | undefined): Extent {
    const last = this.#last;
    if (last !== undefined && last.file === file.key && last.begin <= at && at < last.end) return last;
    this.#clock += 1;
    this.#streams.set(`${file.key} ${until}`, this.#clock);
    // What is there already must not make room for what comes after it.
    this.#last = this.#at(file.key, at);
    this.#ask(this.#stretch(file, at, end, until));
    const extent = this.#at(file.key, at);
    if (extent === undefined) throw new Error(`${file.shown}: nothing was asked for at byte ${at}`);
    extent.used = this.#clock;
    this.#last = extent;
    return extent;
  }

  #stretch(file: RemoteFile, begin: number, end: number, until: number | undefined): Stretch {
    const before = this.#at(file.key, begin)?.request ?? this.#endingNear(file.key, begin)?.request;
    const run = (before?.run ?? 0) + end - begin;
    const isKnown = until !== undefined && run >= RUN_BYTES;
    const grown = begin + Math.max(LEAST_BYTES, before === undefined ? 0 : GROWTH * before.run);
    const goal = Math.max(end, Math.min(isKnown ? Number.POSITIVE_INFINITY : grown, until ?? file.size, file.size));
    return { file, begin, end, goal, run };
  }

  #at(file: string, position: number): Extent | undefined {
    for (const each of this.#extents) {
      if (each.file === file && each.begin <= position && position < each.end) return each;
    }
    return undefined;
  }

  #endingNear(file: string, position: number): Extent | undefined {
    for (const each of this.#extents) {
      if (each.file === file && each.end <= position && position <= each.end + GAP_BYTES) return each;
    }
    return undefined;
  }

  /** Asks for what is not there of the stretch: all that is needed now, and more as long as there is room. */
  #ask({ file, begin, end, goal, run }: Stretch): void {
    const ahead = this.#ahead();
    const request = Math.min(REQUEST_SLOTS, Math.max(1, ahead >> 1)) * SLOT_BYTES;
    const limit = begin + ahead * SLOT_BYTES;
    for (let from = begin; from < Math.min(goal, limit); ) {
      const there = this.#at(file.key, from);
      if (there !== undefined) {
        from = there.end;
        continue;
      }
      const to = Math.min(from + request, goal, this.#nextAfter(file.key, from));
      const isNeeded = from === begin;
      // Ahead, whole requests alone: a window that slides must not ask for slivers.
      if (!isNeeded && from >= end && to > limit) return;
      const asked = this.#request(file, from, to, run + Math.max(0, to - end), isNeeded);
      if (asked === from) return;
      from = asked;
    }
  }

  /** Slots that one stream may have, beside the others. */
  #ahead(): number {
    for (const [stream, used] of this.#streams) if (used < this.#clock - RECENT) this.#streams.delete(stream);
    return Math.max(1, Math.min(AHEAD_SLOTS, Math.floor((SLOTS - 2) / this.#streams.size)));
  }

  #nextAfter(file: string, position: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const each of this.#extents) {
      if (each.file === file && each.begin > position) next = Math.min(next, each.begin);
    }
    return next;
  }

  /** Asks for [begin, end), or for as much of it as there is room for. Gives where that ends. */
  #request(file: RemoteFile, begin: number, end: number, run: number, isNeeded: boolean): number {
    const slots = this.#room(Math.ceil((end - begin) / SLOT_BYTES), isNeeded);
    if (slots.length === 0) return begin;
    const last = Math.min(end, begin + slots.length * SLOT_BYTES);
    const request: Request = { run, failure: null, isDone: false };
    slots.forEach((slot, index) => {
      this.#line.empty(slot);
      const from = begin + index * SLOT_BYTES;
      const to = Math.min(from + SLOT_BYTES, last);
      this.#extents.add({ slot, file: file.key, begin: from, end: to, request, read: from, used: this.#clock });
    });
    this.#line.ask({ kind: "stream", file, begin, end: last, slots }, (answer) => {
      request.isDone = true;
      if (answer.kind === "failed") request.failure = answer.failure;
    });
    return last;
  }

  /** Slots that are free, or hold what was read or is not going to be; where one is needed, at least one. */
  #room(wanted: number, isNeeded: boolean): readonly number[] {
    const taken = new Set([...this.#extents].map(({ slot }) => slot));
    const free: number[] = [];
    for (let slot = 0; slot < SLOTS && free.length < wanted; slot += 1) if (!taken.has(slot)) free.push(slot);
    const spent = [...this.#extents].filter((each) => this.#isSpent(each)).sort((a, b) => a.used - b.used);
    for (const extent of spent.slice(0, Math.max(0, wanted - free.length))) free.push(this.#take(extent));
    if (free.length === wanted || (isNeeded && free.length > 0)) return free;
    if (!isNeeded) return [];
    this.#line.until(() => [...this.#extents].some((each) => this.#isStill(each)));
    // What will be read last, as far as anybody knows.
    const still = [...this.#extents]
      .filter((each) => this.#isStill(each))
      .sort((a, b) => a.used - b.used || b.begin - a.begin);
    return still.slice(0, 1).map((extent) => this.#take(extent));
  }

  #take(extent: Extent): number {
    this.#extents.delete(extent);
    if (this.#last === extent) this.#last = undefined;
    return extent.slot;
  }

  /** Whether the thread writes no more into its slot. */
  #isStill({ request, slot, begin, end }: Extent): boolean {
    return request.isDone || this.#line.filled(slot) >= end - begin;
  }

  #isSpent(extent: Extent): boolean {
    const isRead = extent.read === extent.end || extent.used < this.#clock - 2 * RECENT;
    return isRead && extent !== this.#last && this.#isStill(extent);
  }

  #wait({ slot, begin, request }: Extent, end: number): void {
    const isThere = () => this.#line.filled(slot) >= end - begin;
    if (isThere()) return;
    this.#line.until(() => isThere() || request.isDone);
    if (isThere()) return;
    // Whoever asks again may have better luck.
    for (const each of this.#extents) if (each.request === request) this.#take(each);
    throw request.failure === null ? new Error("an answer without its bytes") : received(request.failure);
  }
}
