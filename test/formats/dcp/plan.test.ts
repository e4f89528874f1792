import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bitsOf, type Dtype, elementCount } from "../../../src/base/dtype.ts";
import { InputError, UsageError } from "../../../src/base/errors.ts";
import { Checksums } from "../../../src/formats/checksums.ts";
import { openDcp } from "../../../src/formats/dcp/open.ts";
import { planDcp, rowChunks } from "../../../src/formats/dcp/plan.ts";
import type { Box } from "../../../src/formats/dcp/tiling.ts";
import type { TargetTensor } from "../../../src/formats/pt/plan.ts";
import { DCP_FIXTURES, expectedTensors, plainTensors, sorted } from "./expected.ts";
import { writeOutput } from "./write-output.ts";

let root = "";
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "plan-dcp-"));
});
afterAll(() => rmSync(root, { recursive: true }));

const DTYPES: readonly Dtype[] = ["F32", "BF16", "I64", "U8", "F8_E4M3", "C64", "BOOL", "U16"];

const tensorArbitrary = fc
  .record({
    dtype: fc.constantFrom(...DTYPES),
    shape: fc.array(fc.integer({ min: 0, max: 6 }), { maxLength: 4 }),
    cuts: fc.array(fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 2 }), { minLength: 4, maxLength: 4 }),
    gridded: fc.boolean(),
  })
  .map(({ dtype, shape, cuts, gridded }) => ({ dtype, shape, boxes: gridded ? grid(shape, cuts) : undefined }));

/** The boxes that cuts along every axis leave. */
function grid(shape: readonly number[], cuts: readonly (readonly number[])[]): Box[] {
  let boxes: Box[] = [{ offsets: [], sizes: [] }];
  for (const [axis, size] of shape.entries()) {
    const inner = [...new Set(cuts[axis]!.filter((at) => at < size))].sort((a, b) => a - b);
    const edges = [0, ...inner, size];
    boxes = boxes.flatMap(({ offsets, sizes }) =>
      edges.slice(0, -1).map((at, i) => ({ offsets: [...offsets, at], sizes: [...sizes, edges[i + 1]! - at] })),
    );
  }
  return boxes;
}

const bytesOf = (tensor: TargetTensor): number => (elementCount(tensor.shape) * bitsOf(tensor.dtype)) / 8;

test("any tensors in any chunks over any ranks come back, by any range", () => {
  let run = 0;
  fc.assert(
    fc.property(
      fc.array(tensorArbitrary, { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.tuple(fc.nat(), fc.nat()), { minLength: 8, maxLength: 8 }),
      fc.integer(),
      (drawn, ranks, ranges, seed) => {
        const directory = join(root, `${run++}`);
        const tensors = drawn.map(({ dtype, shape }, i) => ({ key: `t.${i}`, dtype, shape }));
        const payloads = new Map(
          tensors.map((t, n) => [
            t.key,
            Uint8Array.from({ length: bytesOf(t) }, (_, i) => (i * 31 + n * 7 + seed) & 0xff),
          ]),
        );
        const boxes = new Map(tensors.map(({ key }, i) => [key, drawn[i]!.boxes]));
        writeOutput(directory, planDcp(tensors, { ranks, chunks: ({ key }) => boxes.get(key) }), payloads, 11);
        const checkpoint = openDcp(directory);
        expect([...checkpoint.tensors.values()]).toEqual(tensors.map((t) => ({ ...t, byteLength: bytesOf(t) })));
        for (const { key, byteLength } of checkpoint.tensors.values()) {
          const whole = payloads.get(key)!;
          for (const [a, b] of [[0, byteLength] as const, ...ranges]) {
            const [begin, end] = [a % (byteLength + 1), b % (byteLength + 1)].sort((x, y) => x - y);
            const target = new Uint8Array(end! - begin!);
            checkpoint.read(key, begin!, target);
            expect(target).toEqual(whole.subarray(begin, end));
          }
        }
        checkpoint.verify();
        checkpoint.close();
        rmSync(directory, { recursive: true });
      },
    ),
    { numRuns: 100 },
  );
});

test("what torch saved over four ranks is written again in one file and in three, equal", () => {
  for (const [name, ranks] of [
    ["fsdp", 1],
    ["fsdp", 3],
    ["dtypes", 2],
  ] as const) {
    const source = openDcp(`${DCP_FIXTURES}${name}/ckpt`);
    const expected = expectedTensors(name);
    const payloads = new Map([...expected].map(([key, { hex }]) => [key, Buffer.from(hex, "hex")]));
    const directory = join(root, `${name}-${ranks}`);
    const files = planDcp(source.tensors.values(), { ranks, paths: source.paths! });
    writeOutput(directory, files, payloads);
    const back = openDcp(directory);
    expect(sorted(plainTensors(back))).toEqual(sorted(expected));
    for (const key of back.tensors.keys()) expect(back.paths?.get(key)).toEqual(source.paths?.get(key));
    expect(files.at(-1)?.name).toBe(".metadata");
    back.close();
    source.close();
  }
});

test("ranks hold ceil(n / ranks) rows each, as FSDP cuts them; a rank without rows has no file", () => {
  const tensors: TargetTensor[] = [
    { key: "rows", dtype: "F32", shape: [5, 2] },
    { key: "scalar", dtype: "F32", shape: [] },
    { key: "empty", dtype: "F32", shape: [0, 3] },
  ];
  const files = planDcp(tensors, { ranks: 4 });
  expect(files.map(({ name }) => name)).toEqual(["__0_0.distcp", "__1_0.distcp", "__2_0.distcp", ".metadata"]);
  const ranges = files.map(({ parts }) => parts.flatMap((p) => (p.kind === "tensor" ? [[p.key, p.begin, p.end]] : [])));
  expect(ranges).toEqual([
    [
      ["rows", 0, 16],
      ["scalar", 0, 4],
    ],
    [["rows", 16, 32]],
    [["rows", 32, 40]],
    [],
  ]);
});

test("experts may be chunks of their own", () => {
  const tensor: TargetTensor = { key: "experts.w1", dtype: "BF16", shape: [3, 4, 2] };
  const [file] = planDcp([tensor], { chunks: ({ shape }) => rowChunks(shape, 1) });
  const parts = file!.parts.filter((part) => part.kind === "tensor");
  expect(parts.map(({ begin, end }) => [begin, end])).toEqual([
    [0, 16],
    [16, 32],
    [32, 48],
  ]);
});

test("equal input gives equal bytes, and no path, date or random number", () => {
  const tensors: TargetTensor[] = [{ key: "a", dtype: "F32", shape: [300, 2] }];
  const payloads = new Map([["a", new Uint8Array(2400).fill(3)]]);
  for (const name of ["first", "second"]) writeOutput(join(root, name), planDcp(tensors, { ranks: 2 }), payloads);
  for (const file of [".metadata", "__0_0.distcp", "__1_0.distcp"]) {
    expect(readFileSync(join(root, "first", file))).toEqual(readFileSync(join(root, "second", file)));
  }
});

test("a checksum is refused before all bytes have been seen", () => {
  const [file] = planDcp([{ key: "a", dtype: "F32", shape: [2] }]);
  const sums = new Checksums(file!);
  const part = file!.parts.find(({ kind }) => kind === "sums");
  expect(() => part?.kind === "sums" && sums.make(part)).toThrow("8 bytes was asked for after 0");
});

test("a dtype that torch does not have, and a number of ranks that is none", () => {
  expect(() => planDcp([{ key: "a", dtype: "F6_E2M3", shape: [4] }])).toThrow(InputError);
  for (const ranks of [0, -1, 1.5, Number.NaN]) expect(() => planDcp([], { ranks })).toThrow(UsageError);
});
