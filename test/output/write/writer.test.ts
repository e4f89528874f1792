import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { xxhash64 } from "hash-wasm";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BLOCK_BYTES, Blocks } from "../../../src/base/threads/blocks.ts";
import { Lane } from "../../../src/base/threads/lane.ts";
import { writeOutputFile } from "../../../src/output/write/file.ts";
import { type Writer, WriterThread, Writing } from "../../../src/output/write/writer.ts";
import { HASHING, hashesFor } from "../../../src/views/identity/hash-thread.ts";
import { expectedFiles, plannedFiles, produceBytes, STEP } from "../execute-plan.ts";

let folder: string;
let lane: Lane;
let writing: Writing;
let writer: Writer;
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), "writer-"));
  writing = new Writing();
  lane = new Lane(new Blocks(), [writing, HASHING]);
  writer = new WriterThread(lane, writing);
});
afterEach(() => {
  lane.close();
  writing.close();
  fs.rmSync(folder, { recursive: true });
});

test("a thread writes what it is given, of any size and at any place, while it hashes", async () => {
  const path = join(folder, "file");
  const fd = fs.openSync(path, "w+");
  const content = Uint8Array.from({ length: 3 * BLOCK_BYTES + 12_345 }, (_, i) => (i * 7 + (i >> 9)) % 256);
  const hashes = hashesFor(1e9, lane);
  const marks: [xxh64: string, end: number][] = [];
  const sizes = [1, BLOCK_BYTES + 5, 8192, 100, 2 * BLOCK_BYTES, content.length];
  for (let at = 0, i = 0; at < content.length; i += 1) {
    const bytes = content.slice(at, at + sizes[i]!);
    hashes.update(i % 2, bytes);
    writer.write(fd, bytes, at);
    writer.hash(bytes);
    at += bytes.length;
    bytes.fill(0);
    if (i % 2 === 0) marks.push([writer.mark().reach(), at]);
  }
  for (const [xxh64, end] of marks) expect(xxh64).toBe(await xxhash64(content.subarray(0, end)));
  writer.write(fd, content.subarray(0, 9000), 2 ** 33 + 1);
  writer.settle();
  const found = Buffer.alloc(content.length);
  fs.readSync(fd, found, 0, found.length, 0);
  expect(found.equals(content)).toBe(true);
  expect(fs.fstatSync(fd).size).toBe(2 ** 33 + 9001);
  expect((await hashes.digests()).size).toBe(2);
  fs.closeSync(fd);
});

test("checksums are found by the thread, however many are asked for before one is looked at", () => {
  const { blocks } = lane;
  const found: [late: () => number, expected: number][] = [];
  for (let i = 0; i < 600; i += 1) {
    const bytes = blocks.lend(8192 + i)!.fill(i);
    bytes[i] = 7;
    const expected = crc32(bytes);
    const late = writer.crc32(bytes);
    if (late !== null) found.push([late, expected]);
    else lane.until(found.length);
  }
  // More than there are places for.
  expect(found.length).toBeGreaterThan(256);
  for (const [late, expected] of found.reverse()) expect(late()).toBe(expected);
  // What lies elsewhere may be gone when the thread comes to it.
  expect(writer.crc32(new Uint8Array(2 ** 20))).toBeNull();
});

test("a file comes out as one thread writes it, and its journal tells of what is there", async () => {
  const bytes = STEP * 3.5;
  const [path, file] = [join(folder, "file"), plannedFiles(bytes)[0]!];
  const onDurable = ({ bytes }: { bytes: number }) => expect(fs.statSync(path).size).toBeGreaterThanOrEqual(bytes);
  const told = { onProgress: () => undefined, onDurable, signal: undefined, done: undefined };
  await writeOutputFile({ path, file, produce: produceBytes, fsync: true, stepBytes: STEP, writer, ...told });
  expect(fs.readFileSync(path).equals(expectedFiles(bytes)["first.distcp"]!)).toBe(true);
});

// scripts/test.mjs counts what is marked so, and says where it did not run.
test.runIf(process.platform === "linux")("[linux] a full disk ends the run, whoever finds it", async () => {
  const file = plannedFiles(STEP * 3.5)[0]!;
  const told = { onProgress: () => undefined, onDurable: () => undefined, signal: undefined, done: undefined };
  const job = { path: "/dev/full", file, range: [0, file.byteLength] as const, produce: produceBytes, ...told };
  await expect(writeOutputFile({ ...job, fsync: false, stepBytes: STEP, writer })).rejects.toMatchObject({
    code: "DISK_FULL",
  });
  const fd = fs.openSync("/dev/full", "w");
  writer.write(fd, new Uint8Array(10_000), 0);
  expect(() => writer.settle()).toThrow(/ENOSPC/);
  expect(() => writer.write(fd, new Uint8Array(10_000), 0)).toThrow(/ENOSPC/);
  fs.closeSync(fd);
});
