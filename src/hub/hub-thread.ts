// The thread that speaks to the Hub. Whoever reads waits for it, so that reading stays synchronous (docs/decisions/012).
import { workerData } from "node:worker_threads";
import { sent } from "../base/sent-failure.ts";
import { HubClient } from "./client.ts";
import {
  type Answer,
  type Ask,
  FILLED,
  HAPPENED,
  HEARTBEAT,
  type Question,
  type RemoteFile,
  SLOT_BYTES,
  type Span,
  type ThreadData,
} from "./wire.ts";

/** Heads at a time: few enough for any server. */
const HEADS_AT_ONCE = 12;
/** The first range of a head. Headers of large models have some 70 KB a shard, those of small ones far less. */
const HEAD_BYTES = 1 << 16;
/** What a header of safetensors says of its own length is believed up to here, and read as it is where it lies. */
const MOST_HEADER_BYTES = 100_000_000;
const HEARTBEAT_MS = 500;

const { port, words, slots, settings }: ThreadData = workerData;
const client = new HubClient(settings);

function happened(): void {
  Atomics.add(words, HAPPENED, 1);
  Atomics.notify(words, HAPPENED);
}

function tell(id: number, answer: Answer): void {
  port.postMessage({ id, answer });
  happened();
}

/** Into memory that threads share: whoever opens the same files again has no need to fetch them. */
async function range(file: RemoteFile, { begin, end }: Span, before?: Uint8Array): Promise<Uint8Array> {
  const bytes = new Uint8Array(new SharedArrayBuffer(end));
  let at = begin;
  if (before !== undefined) bytes.set(before);
  for await (const piece of client.bytes(file, begin, end)) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** The first bytes, and all of a header of safetensors. */
async function head(file: RemoteFile): Promise<Uint8Array> {
  const length = Math.min(HEAD_BYTES, file.size);
  const first = await range(file, { begin: 0, end: length });
  if (length < 8 || !file.path.endsWith(".safetensors")) return first;
  const header = Number(Buffer.from(first.buffer).readBigUInt64LE(0));
  const end = 8 + header;
  if (end <= length || header > MOST_HEADER_BYTES || end > file.size) return first;
  return range(file, { begin: length, end }, first);
}

async function stream(file: RemoteFile, { begin, end }: Span, into: readonly number[]): Promise<void> {
  let at = begin;
  for await (const piece of client.bytes(file, begin, end)) {
    for (let done = 0; done < piece.length; ) {
      const offset = (at - begin) % SLOT_BYTES;
      const slot = into[Math.floor((at - begin) / SLOT_BYTES)]!;
      const count = Math.min(piece.length - done, SLOT_BYTES - offset);
      slots.set(piece.subarray(done, done + count), slot * SLOT_BYTES + offset);
      done += count;
      at += count;
      Atomics.store(words, FILLED + slot, offset + count);
    }
    happened();
  }
}

/** A few at a time; the first error ends it. */
async function each<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const left = [...items].reverse();
  const work = async () => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) await act(item);
  };
  try {
    await Promise.all(Array.from({ length: Math.min(HEADS_AT_ONCE, items.length) }, work));
  } finally {
    left.length = 0;
  }
}

async function act(id: number, ask: Ask): Promise<Answer> {
  switch (ask.kind) {
    case "snapshot":
      return { kind: "snapshot", snapshot: await client.snapshot(ask.address, ask.shown) };
    case "heads":
      await each(ask.files, async (file) => tell(id, { kind: "head", path: file.path, bytes: await head(file) }));
      return { kind: "done" };
    case "whole":
      return {
        kind: "bytes",
        bytes: await range(ask.file, { begin: ask.before.length, end: ask.file.size }, ask.before),
      };
    case "stream":
      await stream(ask.file, ask, ask.slots);
      return { kind: "done" };
    default:
      return ask satisfies never;
  }
}

setInterval(() => {
  Atomics.add(words, HEARTBEAT, 1);
  happened();
}, HEARTBEAT_MS).unref();

port.on("message", ({ id, ask }: Question) => {
  act(id, ask).then(
    (answer) => tell(id, answer),
    (error: unknown) => tell(id, { kind: "failed", failure: sent(error) }),
  );
});
