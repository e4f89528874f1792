// Matrices that are transposed in blocks: the same bytes as element by element, with vectors and without.
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, it } from "vitest";
import { file, source, transposeKernels } from "../../scripts/transpose-kernels.mjs";
import { bytesPerElement, type Dtype } from "../../src/base/dtype.ts";
import { Blocks } from "../../src/base/threads/blocks.ts";
import type { Move } from "../../src/table/move.ts";
import { Gatherer } from "../../src/views/gather.ts";

interface Stack {
  readonly dtype: Dtype;
  readonly matrices: number;
  readonly rows: number;
  readonly columns: number;
  /** Elements between the rows of the source, and of the target, that belong to others. */
  readonly gap: number;
  readonly margin: number;
}

const sizes = fc.integer({ min: 1, max: 75 });
const stacks: fc.Arbitrary<Stack> = fc.record({
  dtype: fc.constantFrom<Dtype>("U8", "BF16", "F32", "F64"),
  matrices: fc.integer({ min: 1, max: 3 }),
  rows: sizes,
  columns: sizes,
  gap: fc.nat(9),
  margin: fc.nat(9),
});

/** Each matrix of a stack transposed; what its rows are padded with in the target comes from a second tensor. */
function transposing({ matrices, rows, columns, gap, margin }: Stack): Move {
  const width = rows + margin;
  const piece = {
    source: "a",
    sourceOffset: gap,
    targetOffset: 0,
    sizes: [matrices, columns, rows],
    sourceStrides: [rows * (columns + gap), 1, columns + gap],
    targetStrides: [columns * width, width, 1],
  };
  const rest = {
    source: "b",
    sourceOffset: 0,
    targetOffset: rows,
    sizes: [matrices * columns, margin],
    sourceStrides: [margin, 1],
    targetStrides: [width, 1],
  };
  return { key: "t", shape: [matrices, columns, width], pieces: [piece, rest], rule: "test" };
}

function bytesOf(length: number, seed: number): Uint8Array {
  let state = seed | 1;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state >>> 24;
  });
}

function expected(stack: Stack, width: number, a: Uint8Array, b: Uint8Array): Uint8Array {
  const { matrices, rows, columns, gap, margin } = stack;
  const target = new Uint8Array(matrices * columns * (rows + margin) * width);
  for (let m = 0; m < matrices; m++) {
    for (let c = 0; c < columns; c++) {
      const row = m * columns + c;
      for (let r = 0; r < rows; r++) {
        const from = (gap + (m * rows + r) * (columns + gap) + c) * width;
        target.set(a.subarray(from, from + width), (row * (rows + margin) + r) * width);
      }
      target.set(b.subarray(row * margin * width, (row + 1) * margin * width), (row * (rows + margin) + rows) * width);
    }
  }
  return target;
}

it.each([
  [true, "a memory of their own"],
  [true, "blocks"],
  [false, "plain loops"],
])("any stack of matrices, in any buffer (vectors: %s, in %s)", (vectors, where) => {
  const blocks = where === "blocks" ? new Blocks() : undefined;
  fc.assert(
    fc.property(stacks, fc.integer({ min: 64, max: 40_000 }), fc.nat(), (stack, bufferBytes, seed) => {
      const { matrices, rows, columns, gap, margin, dtype } = stack;
      const width = bytesPerElement(dtype)!;
      const a = bytesOf((gap + matrices * rows * (columns + gap)) * width, seed);
      const b = bytesOf(matrices * columns * margin * width, seed + 1);
      const made: number[] = [];
      const move = transposing(stack);
      const byteLength = matrices * columns * (rows + margin) * width;
      new Gatherer(bufferBytes, { vectors, blocks }).gather(
        move,
        dtype,
        [0, byteLength],
        (key, begin, target) => target.set((key === "a" ? a : b).subarray(begin, begin + target.length)),
        (bytes) => made.push(...bytes),
      );
      expect(Buffer.from(made).equals(expected(stack, width, a, b))).toBe(true);
    }),
    { numRuns: 60 },
  );
});

it("the kernels are what their script makes", async () => {
  expect(readFileSync(file, "utf8")).toBe(source(await transposeKernels()));
});
