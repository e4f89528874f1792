import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Checksums } from "../../../src/formats/checksums.ts";
import { planDcp } from "../../../src/formats/dcp/plan.ts";
import type { ByteSource } from "../../../src/formats/io/byte-source.ts";
import { lengthOf, type OutputPart, partsWithin } from "../../../src/formats/output.ts";
import { openTorchFile } from "../../../src/formats/pt/open.ts";
import { planTorchFile } from "../../../src/formats/pt/plan.ts";
import { layOutZip, planZip } from "../../../src/formats/zip/plan.ts";
import { locate, openZip } from "../../../src/formats/zip/reader.ts";
import { DCP_FIXTURES, expectedTensors, plainTensors, sorted } from "../dcp/expected.ts";
import { writeOutput } from "../dcp/write-output.ts";

let root = "";
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "plan-pt-"));
});
afterAll(() => rmSync(root, { recursive: true }));

test("every dtype and shape of a .pt comes back, in the order of writing", () => {
  for (const name of ["pt-dtypes", "pt-shared"]) {
    const source = openTorchFile(`${DCP_FIXTURES}${name}/file.pt`);
    const expected = expectedTensors(name);
    const payloads = new Map([...expected].map(([key, { hex }]) => [key, Buffer.from(hex, "hex")]));
    const files = planTorchFile(source.tensors.values(), `${name}.pt`);
    expect(files.map((file) => file.name)).toEqual([`${name}.pt`]);
    writeOutput(root, files, payloads, 13);
    const back = openTorchFile(join(root, `${name}.pt`));
    expect([...back.tensors.keys()]).toEqual([...source.tensors.keys()]);
    expect(sorted(plainTensors(back))).toEqual(sorted(expected));
    back.verify();
    back.close();
    source.close();
  }
});

test("storages begin at multiples of 64 bytes", () => {
  const tensors = [5, 7, 300].map((n, i) => ({ key: `t${i}`, dtype: "U8" as const, shape: [n] }));
  const [file] = planTorchFile(tensors, "aligned.pt");
  let at = 0;
  const begins: number[] = [];
  for (const part of file!.parts) {
    if (part.kind === "tensor") begins.push(at);
    at += lengthOf(part);
  }
  expect(begins).toHaveLength(3);
  expect(begins.map((begin) => begin % 64)).toEqual([0, 0, 0]);
  expect(at).toBe(file!.byteLength);
});

test.each([
  ["more dimensions than torch takes", Array<number>(2_000_000).fill(1), "at most 64 dimensions", "2000000"],
  [
    "strides beyond all numbers",
    [0, 2 ** 53 - 1, 2 ** 40],
    "strides below 2^53",
    "[0, 9007199254740991, 1099511627776]",
  ],
])("a shape of %s is refused by name, alone and in a DCP", (_, shape, expected, found) => {
  const tensors = [{ key: "odd", dtype: "F32" as const, shape }];
  for (const plan of [() => planTorchFile(tensors, "odd.pt"), () => planDcp(tensors)]) {
    expect(plan).toThrow(
      expect.objectContaining({
        code: "SHAPE_NOT_IN_TORCH",
        details: expect.objectContaining({ tensor: "odd", expected, found }),
      }),
    );
  }
});

test("a tensor of 64 dimensions, and one of size 0 beside large sizes", () => {
  const shapes = [Array<number>(64).fill(1), [0, 2 ** 26, 2 ** 26]];
  const tensors = shapes.map((shape, i) => ({ key: `t${i}`, dtype: "F32" as const, shape }));
  const payloads = new Map([
    ["t0", new Uint8Array(4)],
    ["t1", new Uint8Array()],
  ]);
  writeOutput(root, planTorchFile(tensors, "shapes.pt"), payloads, 13);
  const back = openTorchFile(join(root, "shapes.pt"));
  expect([...back.tensors.values()].map(({ shape }) => shape)).toEqual(shapes);
  back.close();
});

/** A planned zip as bytes that are never there at once: tensors are all zero. */
function zeros(planned: readonly OutputPart[]): ByteSource {
  const chunk = new Uint8Array(1 << 20);
  const parts: { begin: number; bytes: Uint8Array | null; length: number }[] = [];
  let at = 0;
  const sums = new Checksums({ parts: planned });
  for (const { part, sumBegin } of partsWithin({ parts: planned })) {
    const bytes = part.kind === "bytes" ? part.bytes : part.kind === "sums" ? sums.make(part) : null;
    const length = lengthOf(part);
    if (part.kind === "tensor") {
      for (let done = 0; done < length; done += chunk.length)
        sums.update(part.sum!, sumBegin + done, chunk.subarray(0, Math.min(chunk.length, length - done)));
    }
    parts.push({ begin: at, bytes, length });
    at += length;
  }
  const read = (position: number, target: Uint8Array): void => {
    target.fill(0);
    for (const { begin, bytes, length } of parts) {
      const from = Math.max(position, begin);
      const to = Math.min(position + target.length, begin + length);
      if (from < to && bytes !== null) target.set(bytes.subarray(from - begin, to - begin), from - position);
    }
  };
  return { name: "zeros", byteLength: at, read };
}

test("records beyond 4 GiB, and records behind them", () => {
  const big = 2 ** 32 + 4096;
  const layout = layOutZip([
    { name: "a/data/0", byteLength: big },
    { name: "a/data/1", byteLength: 16 },
    { name: "a/version", bytes: Buffer.from("3\n") },
  ]);
  const parts = planZip(layout, [
    { key: "big", ranges: [[0, big]] },
    { key: "small", ranges: [[0, 16]] },
  ]);
  const source = zeros(parts);
  expect(source.byteLength).toBe(layout.byteLength);
  const archive = openZip(source, { file: "zeros" });
  expect([...archive.records.values()].map(({ name, byteLength }) => [name, byteLength])).toEqual([
    ["a/data/0", big],
    ["a/data/1", 16],
    ["a/version", 2],
  ]);
  const version = Buffer.alloc(2);
  locate(archive, archive.records.get("a/version")!).read(0, version);
  expect(version.toString()).toBe("3\n");
  locate(archive, archive.records.get("a/data/1")!).verify();
});
