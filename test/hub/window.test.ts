// The window between a reader and the thread that fetches: whoever reads in whatever order gets the right bytes, and runs of
// reads fetch each byte once.
import { expect, test } from "vitest";
import { EnvironmentError } from "../../src/base/errors.ts";
import { sent } from "../../src/base/sent-failure.ts";
import { type Filler, Window } from "../../src/hub/window.ts";
import { type RemoteFile, SLOT_BYTES, SLOTS } from "../../src/hub/wire.ts";

/** Content of every file: a byte tells its place. */
const PERIOD = 251;
const PATTERN = Uint8Array.from({ length: SLOT_BYTES + PERIOD }, (_, i) => i % PERIOD);
const contentAt = (begin: number, length: number): Uint8Array =>
  PATTERN.subarray(begin % PERIOD, (begin % PERIOD) + length);

type Stream = Parameters<Filler["ask"]>[0] & { readonly kind: "stream" };

/** Fills slots as a thread does, some at a time, requests in any order. */
class FakeLine implements Filler {
  readonly slots = new Uint8Array(new SharedArrayBuffer(SLOTS * SLOT_BYTES));
  readonly asked: Stream[] = [];
  /** Requests that fail from now on. */
  failing = 0;
  private readonly there = new Int32Array(SLOTS);
  private readonly open: { ask: Stream; listener: Parameters<Filler["ask"]>[1]; done: number }[] = [];

  constructor(private readonly random: () => number) {}

  ask(ask: Parameters<Filler["ask"]>[0], listener: Parameters<Filler["ask"]>[1]): void {
    if (ask.kind !== "stream") throw new Error("another question");
    this.asked.push(ask);
    this.open.push({ ask, listener, done: 0 });
  }

  filled = (slot: number): number => this.there[slot]!;

  empty(slot: number): void {
    const isBusy = this.open.some(({ ask, done }) => ask.slots.indexOf(slot) >= Math.floor(done / SLOT_BYTES));
    if (isBusy) throw new Error(`slot ${slot} is being written to`);
    this.there[slot] = 0;
  }

  until(isSo: () => boolean): void {
    for (let steps = 0; !isSo(); steps += 1) {
      if (steps > 10_000) throw new Error("nobody fills what is waited for");
      this.step();
    }
  }

  private step(): void {
    const request = this.open[Math.floor(this.random() * this.open.length)];
    if (request === undefined) throw new Error("nothing is under way");
    const { ask, listener, done } = request;
    const isFailing = this.failing > 0;
    const count = Math.min(
      ask.end - ask.begin - done,
      SLOT_BYTES - (done % SLOT_BYTES),
      1 + Math.floor(this.random() * SLOT_BYTES),
    );
    const slot = ask.slots[Math.floor(done / SLOT_BYTES)]!;
    if (!isFailing) {
      this.slots.set(contentAt(ask.begin + done, count), slot * SLOT_BYTES + (done % SLOT_BYTES));
      this.there[slot] = (done % SLOT_BYTES) + count;
      request.done += count;
    }
    if (!isFailing && request.done < ask.end - ask.begin) return;
    this.open.splice(this.open.indexOf(request), 1);
    if (isFailing) this.failing -= 1;
    const failure = sent(new EnvironmentError("HUB_FAILS", "it fails", { help: "again" }));
    listener(isFailing ? { kind: "failed", failure } : { kind: "done" });
  }
}

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const fileOf = (name: string, size: number): RemoteFile => ({
  snapshot: { type: "model", repository: "a/b", revision: null, commit: "c" },
  ...{ path: name, key: name, shown: name, size, sha256: null, oid: null, xetHash: null },
});

function opened(seed: number) {
  const line = new FakeLine(randomOf(seed));
  const window = new Window(line);
  const read = (file: RemoteFile, position: number, length: number, until?: number): void => {
    const target = new Uint8Array(length);
    window.read(file, position, target, until);
    for (let at = 0; at < length; at += SLOT_BYTES) {
      const part = target.subarray(at, at + SLOT_BYTES);
      if (!Buffer.from(contentAt(position + at, part.length)).equals(part))
        throw new Error(`wrong bytes at ${position}`);
    }
  };
  const bytes = () => line.asked.reduce((sum, { begin, end }) => sum + end - begin, 0);
  return { line, read, bytes };
}

test.each([1, 2, 3])("reads of any place and length, of several files (%i)", (seed) => {
  const { read } = opened(seed);
  const random = randomOf(seed * 77);
  const files = [1, 2, 3].map((i) => fileOf(`f${i}`, 90_000_000 * i));
  for (let i = 0; i < 60; i += 1) {
    const file = files[Math.floor(random() * files.length)]!;
    const length = 1 + Math.floor(random() ** 4 * 20e6);
    const position = Math.floor(random() * (file.size - length));
    const until =
      random() < 0.5 ? undefined : position + length + Math.floor(random() * (file.size - position - length));
    read(file, position, length, until);
  }
});

test.each([
  [1, 1 << 20],
  [1, 8 << 20],
  [1, 3000],
  [3, 1 << 18],
  [12, 1 << 19],
])("%i runs of reads of %i bytes side by side fetch each byte once, or a window of them twice", (cursors, step) => {
  const { read, bytes, line } = opened(cursors);
  const file = fileOf("f", 400e6);
  const length = 20e6 - 1234;
  for (let at = 0; at < length; at += step) {
    for (let c = 0; c < cursors; c += 1) {
      const begin = 1000 + c * 21e6;
      read(file, begin + at, Math.min(step, length - at), begin + length);
    }
  }
  // Where many begin at once, the first have gone far ahead: what they have to give up is fetched again.
  const again = cursors > 3 ? SLOTS * SLOT_BYTES : 0;
  expect(bytes() - cursors * length).toBeLessThanOrEqual(again);
  // Few requests for much.
  expect(line.asked.length).toBeLessThan(cursors * 40);
});

test("nothing is fetched beyond where a reader ends, and little around a lonely read", () => {
  const { read, bytes, line } = opened(5);
  const file = fileOf("f", 1e9);
  read(file, 5e6, 4_000_000, 12e6);
  expect(Math.max(...line.asked.map(({ end }) => end))).toBeLessThanOrEqual(12e6);
  const before = bytes();
  for (let i = 1; i <= 20; i += 1) read(file, i * 40e6, 4096, i * 40e6 + 30e6);
  expect(bytes() - before).toBeLessThanOrEqual(20 * (1 << 18));
});

test("a request that failed is told once, and made again when it is asked for again", () => {
  const { read, line } = opened(9);
  const file = fileOf("f", 1e9);
  line.failing = 1;
  expect(() => read(file, 0, 3_000_000)).toThrow("it fails");
  line.failing = 0;
  read(file, 0, 3_000_000);
});
