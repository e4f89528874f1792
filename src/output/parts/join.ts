// Joins the parts of an output: completes what no part could write alone, reads it again where that is wanted, and gives the
// names. Everything until then can be repeated, by whoever comes after a kill.
import fs from "node:fs";
import { dirname, join, resolve } from "node:path";
import { setImmediate } from "node:timers/promises";
import { InputError } from "../../base/errors.ts";
import { Xxh64 } from "../../base/xxh64/xxh64.ts";
import type { SumPiece } from "../../formats/checksums.ts";
import type { OutputFile } from "../../formats/output.ts";
import { EMPTY_HASH, type Hashes } from "../../views/identity/hash-thread.ts";
import { entryAt } from "../exchange.ts";
import { homeOf, outOf } from "../home.ts";
import { readJournal } from "../journal.ts";
import { checkTarget, type TargetCheck } from "../safe-target.ts";
import {
  type Committed,
  commitStaging,
  discardStaging,
  holdsFormer,
  openStaging,
  releaseStaging,
  syncFolder,
} from "../staging.ts";
import { writing } from "../staging-errors.ts";
import type { Outline, PartDocument, WrittenRange } from "./documents.ts";
import { crcOfPieces, filled } from "./left.ts";
import { doneName, journalName, movedName, outName, removePartsHome, runsOf } from "./place.ts";
import { numbersText } from "./survey.ts";

export interface JoinJob {
  readonly target: string;
  readonly home: string;
  readonly outline: Outline;
  /** One for each part. */
  readonly parts: readonly PartDocument[];
  /** Files that are made of what all parts found, by name. */
  readonly made: ReadonlyMap<string, Uint8Array>;
  /** Whether all bytes are read again, and compared with what parts say that they wrote. */
  readonly reads: boolean;
  readonly hashes?: Hashes | undefined;
  readonly check: TargetCheck;
  readonly fsync: boolean;
  readonly onProgress?: (progress: { readonly bytes: number; readonly totalBytes: number }) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface JoinedFile {
  readonly name: string;
  readonly bytes: number;
  /** In hex; null of a file that several parts wrote and nobody read again. */
  readonly xxh64: string | null;
  readonly sha256?: string;
}

export interface Joined {
  readonly files: readonly JoinedFile[];
  readonly committed: Committed;
}

/** Throws InputError PARTS_CHANGED, PARTS_DAMAGED, TARGET_…; EnvironmentError. What is there stays, to be joined again. */
export async function joinParts(job: JoinJob): Promise<Joined> {
  const { outline, home } = job;
  refuseOddShares(job);
  const { out, isNamed } = outputOf(job);
  if (!isNamed) checkTarget(job.target, { ...job.check, writes: copiesIn(job, out) });
  refuseShort(job, out);
  const touched = isNamed ? [] : complete(job, out);
  const files = await fileHashes(job, out);
  if (job.fsync) {
    for (const path of touched) syncFile(path);
    for (const folder of new Set([out, ...outline.files.map(({ name }) => dirname(join(out, name)))]))
      syncFolder(folder);
  }
  job.signal?.throwIfAborted();
  const committed = isNamed ? { stood: null, left: null } : publish(job, out);
  removePartsHome(home);
  return { files, committed };
}

interface Output {
  readonly out: string;
  /** Whether it has its name already: a run was killed after that. */
  readonly isNamed: boolean;
}

/** Where the output lies: with the parts, or where a run that was killed had brought it. */
function outputOf({ home, target, outline: { plan, isFile } }: JoinJob): Output {
  const own = join(home, outName(plan));
  const staged = homeOf(resolve(target));
  if (entryAt(join(home, movedName(plan))) !== null && entryAt(own) === null) {
    if (entryAt(outOf(staged)) !== null && readJournal(staged).plan === plan)
      return { out: outOf(staged), isNamed: false };
    if (entryAt(resolve(target)) !== null)
      return { out: isFile ? dirname(resolve(target)) : resolve(target), isNamed: true };
  }
  // Where no part has anything to write, none made it.
  writing(own, () => fs.mkdirSync(own, { recursive: true }));
  return { out: own, isNamed: false };
}

/** Files beside the weights that are copied: one that stands at the target with the same bytes is not lost. */
const copiesIn = ({ outline }: JoinJob, out: string): OutputFile[] =>
  outline.files
    .filter(({ isCopy }) => isCopy)
    .map(({ name, byteLength }) => {
      const read = (begin: number, target: Uint8Array) => readInto(join(out, name), begin, target);
      return { name, byteLength, copyOf: name, parts: [{ kind: "copy", byteLength, read }] };
    });

function readInto(path: string, begin: number, target: Uint8Array): void {
  const fd = fs.openSync(path, "r");
  try {
    fs.readSync(fd, target, 0, target.length, begin);
  } finally {
    fs.closeSync(fd);
  }
}

function refuseOddShares({ home, outline, parts }: JoinJob): void {
  for (const part of parts) {
    const planned = outline.shares[part.number - 1] ?? [];
    const same = (range: WrittenRange, i: number) =>
      range.file === planned[i]?.file && range.begin === planned[i].begin && range.end === planned[i].end;
    if (part.ranges.length === planned.length && part.ranges.every(same)) continue;
    const file = join(home, doneName(outline.plan, part));
    throw new InputError("PARTS_DAMAGED", `${file}: tells of other bytes than its part was to write`, {
      file,
      help: "it is no longer what a part wrote: remove it, and run its part again",
    });
  }
}

/** Before hours of reading. */
function refuseShort(job: JoinJob, out: string): void {
  for (const { name, byteLength } of job.outline.files) {
    const size = entryAt(join(out, name))?.size;
    const there = size === undefined ? -1 : Number(size);
    const lost = job.parts.filter(({ ranges }) => ranges.some(({ file, end }) => file === name && end > there));
    if (lost.length > 0 || there > byteLength) {
      throw changed(job, join(out, name), lost, `${byteLength} bytes`, there < 0 ? "no file" : `${there} bytes`);
    }
  }
}

/** A part whose bytes are not there any more has to be made again. */
function changed(
  job: JoinJob,
  file: string,
  parts: readonly PartDocument[],
  expected: string,
  found: string,
): InputError {
  const { home, outline, target } = job;
  for (const part of parts) {
    fs.rmSync(join(home, doneName(outline.plan, part)), { force: true });
    for (const run of runsOf(home, outline.plan, part))
      fs.rmSync(join(home, journalName(outline.plan, part, run)), { force: true });
  }
  const again =
    parts.length === 0
      ? `begin anew after \`convert-checkpoint clean ${target}\``
      : `run ${parts.length === 1 ? "part" : "parts"} ${numbersText(parts)} again, then finalize`;
  return new InputError("PARTS_CHANGED", `${file}: no longer holds what the parts wrote`, {
    file,
    expected,
    found,
    help: again,
  });
}

/** Writes what parts left. Gives the paths that it wrote to. */
function complete({ outline, parts, made }: JoinJob, out: string): string[] {
  const touched = new Set<string>();
  const write = (name: string, bytes: Uint8Array, begin: number): void => {
    const path = join(out, name);
    writing(path, () => {
      fs.mkdirSync(dirname(path), { recursive: true });
      const fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT);
      try {
        for (let done = 0; done < bytes.length; )
          done += fs.writeSync(fd, bytes, done, bytes.length - done, begin + done);
      } finally {
        fs.closeSync(fd);
      }
    });
    touched.add(path);
  };
  for (const { name, byteLength } of outline.files) if (byteLength === 0) write(name, new Uint8Array(), 0);
  for (const [name, bytes] of made) write(name, bytes, 0);
  const crcs = checksums(outline, parts);
  for (const left of outline.left.bytes)
    write(
      left.file,
      filled(left, (sum) => crcs(left.file, sum)),
      left.begin,
    );
  return [...touched];
}

function checksums({ left }: Outline, parts: readonly PartDocument[]): (file: string, sum: number) => number {
  const pieces = new Map<string, SumPiece[]>();
  const id = (file: string, sum: number): string => `${sum} ${file}`;
  for (const [file, sum, begin, end, crc32] of parts.flatMap(({ sums }) => sums)) {
    const known = pieces.get(id(file, sum)) ?? [];
    pieces.set(id(file, sum), known);
    known.push({ sum, begin, end, crc32 });
  }
  const lengths = new Map(left.sums.map(({ file, sum, byteLength }) => [id(file, sum), byteLength]));
  return (file, sum) => {
    const crc = crcOfPieces(pieces.get(id(file, sum)) ?? [], lengths.get(id(file, sum)) ?? 0);
    if (crc === null) throw new Error(`${file}: checksum ${sum} is known in part only`);
    return crc;
  };
}

const READ_BYTES = 1 << 20;
const TURN_MS = 100;

async function fileHashes(job: JoinJob, out: string): Promise<JoinedFile[]> {
  const files: JoinedFile[] = [];
  const totalBytes = job.outline.files.reduce((sum, { byteLength }) => sum + byteLength, 0);
  let before = 0;
  for (const [index, { name, byteLength }] of job.outline.files.entries()) {
    const start = before;
    const made = job.made.get(name);
    const xxh64 = job.reads
      ? await hashRead(job, join(out, name), index, (bytes) => job.onProgress?.({ bytes: start + bytes, totalBytes }))
      : made === undefined
        ? toldHash(job, name, byteLength)
        : Xxh64.alone().update(made).digest();
    before += byteLength;
    files.push({ name, bytes: byteLength, xxh64 });
  }
  if (!job.reads) return files;
  const sums = await job.hashes?.digests();
  return sums === undefined ? files : files.map((file, i) => ({ ...file, sha256: sums.get(i) ?? EMPTY_HASH }));
}

/** Of a file that one part wrote from end to end. */
function toldHash({ parts }: JoinJob, name: string, byteLength: number): string | null {
  const ranges = parts.flatMap((part) => part.ranges.filter(({ file }) => file === name));
  const [only] = ranges;
  return only !== undefined && only.begin === 0 && only.end === byteLength && only.left.length === 0
    ? only.xxh64
    : null;
}

/** Reads a file from end to end. Throws InputError PARTS_CHANGED where it is not what a part wrote. */
async function hashRead(job: JoinJob, path: string, index: number, onBytes: (bytes: number) => void): Promise<string> {
  const { name, byteLength } = job.outline.files[index]!;
  const fd = fs.openSync(path, "r");
  const buffer = new Uint8Array(READ_BYTES);
  const whole = Xxh64.alone();
  let turnedAt = performance.now();
  const read = async (from: number, to: number, take: (bytes: Uint8Array) => void): Promise<void> => {
    for (let at = from; at < to; ) {
      const count = fs.readSync(fd, buffer, 0, Math.min(buffer.length, to - at), at);
      if (count === 0) throw changed(job, path, [], `${byteLength} bytes`, `${at} bytes`);
      const bytes = buffer.subarray(0, count);
      whole.update(bytes);
      job.hashes?.update(index, bytes);
      take(bytes);
      at += count;
      onBytes(at);
      if (performance.now() - turnedAt < TURN_MS) continue;
      await setImmediate();
      turnedAt = performance.now();
      job.signal?.throwIfAborted();
    }
  };
  const nothing = () => undefined;
  const own = Xxh64.alone();
  try {
    let at = 0;
    for (const { part, range } of writtenTo(job, name)) {
      own.reset();
      for (const [begin, end] of [...range.left, [range.end, range.end] as const]) {
        await read(at, begin, (bytes) => own.update(bytes));
        await read(begin, end, nothing);
        at = end;
      }
      const found = own.digest();
      if (found !== range.xxh64)
        throw changed(job, path, [part], `xxh64 ${range.xxh64} of what part ${part.number} wrote`, found);
    }
    await read(at, byteLength, nothing);
    return whole.digest();
  } finally {
    fs.closeSync(fd);
  }
}

/** In the order of the file. */
const writtenTo = ({ parts }: JoinJob, name: string) =>
  parts
    .flatMap((part) => part.ranges.filter(({ file }) => file === name).map((range) => ({ part, range })))
    .toSorted((a, b) => a.range.begin - b.range.begin);

function syncFile(path: string): void {
  writing(path, () => {
    const fd = fs.openSync(path, "r+");
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  });
}

function publish(job: JoinJob, out: string): Committed {
  const { home, target, outline, check, fsync } = job;
  const { plan, files } = outline;
  const sizes = new Map(files.map(({ name, byteLength }) => [name, byteLength]));
  const staging = openStaging({
    target,
    plan,
    sizes,
    totalBytes: 0,
    resume: true,
    check: { ...check, writes: copiesIn(job, out) },
  });
  const moved = join(home, movedName(plan));
  const own = join(home, outName(plan));
  try {
    writing(moved, () => fs.writeFileSync(moved, "", { flush: true }));
    if (staging.out !== out) {
      fs.rmSync(staging.out, { recursive: true });
      writing(target, () => fs.renameSync(out, staging.out));
    }
    return commitStaging(staging, outline.isFile ? join(staging.out, files[0]!.name) : staging.out, fsync);
  } catch (error) {
    const holds = holdsFormer(staging);
    if (entryAt(staging.out) !== null && entryAt(own) === null) {
      fs.renameSync(staging.out, own);
      fs.rmSync(moved, { force: true });
    }
    if (holds) releaseStaging(staging);
    else discardStaging(staging);
    throw error;
  }
}
