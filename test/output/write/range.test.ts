import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { xxhash64 } from "hash-wasm";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Checksums } from "../../../src/formats/checksums.ts";
import type { OutputFile } from "../../../src/formats/output.ts";
import type { FileProgress } from "../../../src/output/journal.ts";
import { writeLeft } from "../../../src/output/write/bytes.ts";
import { type FileJob, type Written, writeOutputFile } from "../../../src/output/write/file.ts";
import { expectedFiles, plannedFiles, produceBytes, STEP } from "../execute-plan.ts";

const BYTES = STEP * 3.5;
const file: OutputFile = plannedFiles(BYTES)[0]!;
const expected = expectedFiles(BYTES)["first.distcp"]!;

let folder: string;
let path: string;
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), "range-"));
  path = join(folder, "file");
});
afterEach(() => fs.rmSync(folder, { recursive: true }));

const job = (range: readonly [number, number], more: Partial<FileJob> = {}): FileJob => ({
  ...{ path, file, range, produce: produceBytes, fsync: false, stepBytes: STEP, done: undefined },
  ...{ onProgress: () => undefined, onDurable: () => undefined, signal: undefined, ...more },
});

/** Between parts, within a header, within the tensor, within the checksum and behind it. */
const CUTS = [8, 3, 8 + STEP, 8 + BYTES - 64, 8 + BYTES, 8 + BYTES + 2, 8 + BYTES + 4];

test("any ranges, written in any order, are the file that one run writes", async () => {
  for (const cuts of [...CUTS.map((cut) => [cut]), CUTS.toSorted((a, b) => a - b)]) {
    const edges = [0, ...cuts, file.byteLength];
    const ranges = edges.slice(1).map((end, i) => [edges[i]!, end] as const);
    const sums = new Checksums(file);
    const lefts: (readonly [number, number])[] = [];
    for (const range of ranges.toReversed()) {
      const written: Written = await writeOutputFile(job(range));
      const own = expected.subarray(...range);
      if (written.left.length === 0) expect(written.xxh64).toBe(await xxhash64(own));
      for (const piece of written.sums) sums.add(piece);
      lefts.push(...written.left);
    }
    expect(fs.readFileSync(path).equals(expected)).toBe(lefts.length === 0);
    writeLeft(path, file, sums);
    expect(fs.readFileSync(path).equals(expected)).toBe(true);
    fs.rmSync(path);
  }
});

test("two writers at once do not disturb each other", async () => {
  const ranges = [
    [0, 2 * STEP],
    [2 * STEP, file.byteLength],
  ] as const;
  const written = await Promise.all(ranges.map((range) => writeOutputFile(job(range, { fsync: true }))));
  const sums = new Checksums(file);
  for (const piece of written.flatMap(({ sums }) => sums)) sums.add(piece);
  writeLeft(path, file, sums);
  expect(fs.readFileSync(path).equals(expected)).toBe(true);
});

test("what bytes elsewhere decide is left out, and named", async () => {
  const { left } = await writeOutputFile(job([8 + STEP, file.byteLength]));
  expect(left).toEqual([[8 + BYTES, 8 + BYTES + 4]]);
  expect(() => writeLeft(path, file, new Checksums(file))).toThrow("was asked for after 0 of them");
});

test("a range that was stopped is continued, and what changed of it is found", async () => {
  const range = [8 + 64, 8 + BYTES] as const;
  const points: FileProgress[] = [];
  const stop = new AbortController();
  const onDurable = (progress: FileProgress) => {
    points.push(progress);
    if (points.length === 2) stop.abort();
  };
  await expect(writeOutputFile(job(range, { onDurable, signal: stop.signal }))).rejects.toThrow();
  const done = points.at(-1)!;
  expect(done.bytes).toBeGreaterThan(0);
  const begins: number[] = [];
  const produce: FileJob["produce"] = (key, begin, end, sink) => {
    begins.push(begin);
    produceBytes(key, begin, end, sink);
  };
  const { xxh64, sums } = await writeOutputFile(job(range, { done, produce }));
  expect(begins[0]).toBe(64 + done.bytes);
  expect(xxh64).toBe(await xxhash64(expected.subarray(...range)));
  expect(sums).toEqual([expect.objectContaining({ sum: 0, begin: 64, end: BYTES })]);
  const fd = fs.openSync(path, "r+");
  fs.writeSync(fd, Uint8Array.of(expected[range[0]]! ^ 1), 0, 1, range[0]);
  fs.closeSync(fd);
  await expect(writeOutputFile(job(range, { done }))).rejects.toMatchObject({ code: "PARTIAL_CHANGED" });
});

test("a range that is begun anew leaves what others wrote", async () => {
  await writeOutputFile(job([2 * STEP, file.byteLength]));
  await writeOutputFile(job([0, 2 * STEP]));
  await writeOutputFile(job([0, 2 * STEP]));
  expect(
    fs
      .readFileSync(path)
      .subarray(0, 8 + BYTES)
      .equals(expected.subarray(0, 8 + BYTES)),
  ).toBe(true);
});

test("cuts within elements: whole ones are asked for, and their bytes go to either side", async () => {
  const asked: (readonly [number, number])[] = [];
  const produce: FileJob["produce"] = (key, begin, end, sink) => {
    asked.push([begin, end]);
    // In pieces that end anywhere, too.
    produceBytes(key, begin, end, (bytes) => {
      for (let at = 0; at < bytes.length; at += 1021) sink(bytes.subarray(at, at + 1021));
    });
  };
  const edges = [0, 8 + 5, 8 + 6, 8 + STEP + 1, 8 + 2 * STEP - 1, 8 + BYTES - 3, file.byteLength];
  const sums = new Checksums(file);
  for (const [i, end] of edges.slice(1).entries()) {
    const range = [edges[i]!, end] as const;
    const written = await writeOutputFile(job(range, { produce }));
    if (written.left.length === 0) expect(written.xxh64).toBe(await xxhash64(expected.subarray(...range)));
    for (const piece of written.sums) sums.add(piece);
  }
  writeLeft(path, file, sums);
  expect(fs.readFileSync(path).equals(expected)).toBe(true);
  const ends = file.parts.map((part) => (part.kind === "tensor" ? part.end : 0));
  expect(asked.filter(([begin, end]) => begin % 8 !== 0 || (end % 8 !== 0 && !ends.includes(end)))).toEqual([]);
});
