import fc from "fast-check";
import { expect, test } from "vitest";
import { InputError } from "../../../src/base/errors.ts";
import { type Box, checkTiling } from "../../../src/formats/dcp/tiling.ts";

const where = { file: ".metadata", tensor: "t" };

function codeOf(shape: readonly number[], boxes: readonly Box[]): string | undefined {
  try {
    checkTiling(shape, boxes, where);
    return undefined;
  } catch (error) {
    return error instanceof InputError ? error.code : "no InputError";
  }
}

/** How often each element is covered, element by element. */
function coverage(shape: readonly number[], boxes: readonly Box[]): Map<string, number> {
  const covered = new Map<string, number>();
  const visit = (box: Box, at: number[]): void => {
    const axis = at.length;
    if (axis === shape.length) covered.set(at.join(), (covered.get(at.join()) ?? 0) + 1);
    else for (let i = 0; i < box.sizes[axis]!; i++) visit(box, [...at, box.offsets[axis]! + i]);
  };
  for (const box of boxes) visit(box, []);
  return covered;
}

test("agrees with counting every element", () => {
  const axis = fc.tuple(fc.nat(3), fc.nat(4));
  const outcomes = new Map<string | undefined, number>();
  fc.assert(
    fc.property(
      fc
        .integer({ min: 0, max: 3 })
        .chain((rank) =>
          fc.tuple(
            fc.array(fc.nat(4), { minLength: rank, maxLength: rank }),
            fc.array(fc.array(axis, { minLength: rank, maxLength: rank }), { maxLength: 4 }),
          ),
        ),
      ([shape, drawn]) => {
        const boxes = drawn.map((axes) => ({ offsets: axes.map(([o]) => o), sizes: axes.map(([, s]) => s) }));
        const fits = boxes.every((box) => shape.every((n, a) => box.offsets[a]! + box.sizes[a]! <= n));
        const counts = [...coverage(shape, boxes).values()];
        const elements = shape.reduce((product, n) => product * n, 1);
        const code = codeOf(shape, boxes);
        outcomes.set(code, (outcomes.get(code) ?? 0) + 1);
        if (!fits) expect(code).toBe("DCP_CHUNK_BOUNDS");
        else if (counts.some((n) => n > 1)) expect(code).toBe("DCP_CHUNK_OVERLAP");
        else expect(code).toBe(counts.length === elements ? undefined : "DCP_CHUNK_HOLE");
      },
    ),
    { numRuns: 2000, seed: 7 },
  );
  for (const code of [undefined, "DCP_CHUNK_BOUNDS", "DCP_CHUNK_OVERLAP", "DCP_CHUNK_HOLE"]) {
    expect(outcomes.get(code)).toBeGreaterThan(0);
  }
});

test("a hundred thousand chunks in rows, and ten thousand in a grid", () => {
  const rows = Array.from({ length: 100_000 }, (_, i) => ({ offsets: [i, 0], sizes: [1, 8] }));
  expect(codeOf([100_000, 8], rows)).toBeUndefined();
  expect(codeOf([100_000, 8], rows.with(500, { offsets: [499, 0], sizes: [1, 8] }))).toBe("DCP_CHUNK_OVERLAP");
  const grid = Array.from({ length: 10_000 }, (_, i) => ({
    offsets: [Math.floor(i / 100) * 3, (i % 100) * 2],
    sizes: [3, 2],
  }));
  expect(codeOf([300, 200], grid)).toBeUndefined();
  expect(codeOf([300, 200], grid.slice(1))).toBe("DCP_CHUNK_HOLE");
});

test("rows beside columns, too many to compare in bounded time, are refused", () => {
  const n = 10_000;
  const rows = Array.from({ length: n }, (_, i) => ({ offsets: [i, 0], sizes: [1, n] }));
  const columns = Array.from({ length: n }, (_, i) => ({ offsets: [0, n + i], sizes: [n, 1] }));
  expect(codeOf([n, 2 * n], [...rows, ...columns])).toBe("DCP_CHUNKS");
});

test("a shape of more axes than a call takes arguments is one like any other", () => {
  const shape = Array<number>(130_000).fill(1);
  const box: Box = { offsets: shape.map(() => 0), sizes: shape };
  expect(codeOf(shape, [box])).toBeUndefined();
  expect(codeOf(shape, [box, box])).toBe("DCP_CHUNK_OVERLAP");
});
