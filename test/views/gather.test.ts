import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesPerElement, type Dtype, elementCount } from "../../src/base/dtype.ts";
import type { Move, Piece } from "../../src/table/move.ts";
import { Gatherer, type ReadBytes } from "../../src/views/gather.ts";

type Tensors = ReadonlyMap<string, Uint8Array>;

/** One element at a time, from the definition of a strided copy. */
function naive(move: Move, itemBytes: number, sources: Tensors): Buffer {
  const target = Buffer.alloc(elementCount(move.shape) * itemBytes);
  for (const piece of move.pieces) {
    const source = sources.get(piece.source) ?? expect.fail(piece.source);
    const index = piece.sizes.map(() => 0);
    for (let n = 0; n < elementCount(piece.sizes); n += 1) {
      const at = (strides: readonly number[], offset: number) =>
        index.reduce((sum, i, a) => sum + i * (strides[a] ?? 0), offset) * itemBytes;
      const from = at(piece.sourceStrides, piece.sourceOffset);
      target.set(source.subarray(from, from + itemBytes), at(piece.targetStrides, piece.targetOffset));
      for (let a = index.length - 1; a >= 0; a -= 1) {
        index[a] = ((index[a] ?? 0) + 1) % (piece.sizes[a] ?? 1);
        if (index[a] !== 0) break;
      }
    }
  }
  return target;
}

/** Row-major strides of sizes laid out in `order`. */
function stridesOf(sizes: readonly number[], order: readonly number[]): number[] {
  const strides = sizes.map(() => 0);
  let stride = 1;
  for (const axis of [...order].reverse()) {
    strides[axis] = stride;
    stride *= sizes[axis] ?? 1;
  }
  return strides;
}

interface Case {
  readonly move: Move;
  readonly dtype: Dtype;
  readonly sources: Tensors;
}

/** A target cut along one axis; each part comes from a source of its own with other axis order, margins and offset. */
const cases: fc.Arbitrary<Case> = fc
  .record({
    sizes: fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 }),
    cutAxis: fc.nat(3),
    cuts: fc.array(fc.nat(7), { maxLength: 3 }),
    dtype: fc.constantFrom<Dtype>("U8", "BF16", "F32", "F64"),
    orders: fc.array(fc.array(fc.nat(), { minLength: 4, maxLength: 4 }), { minLength: 4, maxLength: 4 }),
    margins: fc.array(fc.nat(3), { minLength: 4, maxLength: 4 }),
    seed: fc.nat(),
  })
  .map(({ sizes, cutAxis, cuts, dtype, orders, margins, seed }) => {
    const axis = cutAxis % sizes.length;
    const whole = sizes[axis] ?? 1;
    const bounds = [...new Set([0, ...cuts.map((cut) => Math.min(cut, whole)), whole])].sort((a, b) => a - b);
    const targetStrides = stridesOf(sizes, [...sizes.keys()]);
    const sources = new Map<string, Uint8Array>();
    const pieces = bounds.slice(1).map((end, p): Piece => {
      const begin = bounds[p] ?? 0;
      const part = sizes.map((size, a) => (a === axis ? end - begin : size));
      const rank = orders[p] ?? [];
      const order = [...part.keys()].sort((a, b) => (rank[a] ?? 0) - (rank[b] ?? 0));
      const stored = part.map((size, a) => size + (margins[a] ?? 0));
      const sourceOffset = margins[p] ?? 0;
      const bytes = new Uint8Array((elementCount(stored) + sourceOffset) * (bytesPerElement(dtype) ?? 0));
      for (let i = 0; i < bytes.length; i += 1) bytes[i] = (Math.imul(i + seed + p, 2654435761) >>> 13) & 255;
      sources.set(`source${p}`, bytes);
      return {
        source: `source${p}`,
        sourceOffset,
        targetOffset: begin * (targetStrides[axis] ?? 0),
        sizes: part,
        sourceStrides: stridesOf(stored, order),
        targetStrides,
      };
    });
    return { move: { key: "t", shape: sizes, pieces: pieces.reverse(), rule: "test" }, dtype, sources };
  });

const reader =
  (sources: Tensors): ReadBytes =>
  (key, begin, target) => {
    const source = sources.get(key) ?? expect.fail(key);
    expect(begin + target.length).toBeLessThanOrEqual(source.length);
    target.set(source.subarray(begin, begin + target.length));
  };

function collect(gatherer: Gatherer, { move, dtype, sources }: Case, range?: readonly [number, number]): Buffer {
  const chunks: Buffer[] = [];
  const end = elementCount(move.shape) * (bytesPerElement(dtype) ?? 0);
  gatherer.gather(move, dtype, range ?? [0, end], reader(sources), (bytes) => chunks.push(Buffer.from(bytes)));
  return Buffer.concat(chunks);
}

describe("a gatherer", () => {
  it("gives what element-wise copies give, for any move, range and buffer", () => {
    fc.assert(
      fc.property(cases, fc.integer({ min: 1, max: 400 }), fc.nat(), fc.nat(), (one, buffer, a, b) => {
        const itemBytes = bytesPerElement(one.dtype) ?? 0;
        const expected = naive(one.move, itemBytes, one.sources);
        const count = elementCount(one.move.shape) + 1;
        const [begin, end] = [(a % count) * itemBytes, (b % count) * itemBytes].sort((x, y) => x - y);
        const gatherer = new Gatherer(buffer);
        expect(collect(gatherer, one)).toEqual(expected);
        expect(collect(gatherer, one, [begin ?? 0, end ?? 0])).toEqual(expected.subarray(begin, end));
      }),
      { numRuns: 3000 },
    );
  });
});

/** Counts reads and bytes of a move between large tensors. */
function traffic(move: Move, dtype: Dtype, sourceElements: number, buffer?: number) {
  const itemBytes = bytesPerElement(dtype) ?? 0;
  const source = new Uint8Array(sourceElements * itemBytes).map((_, i) => Math.imul(i, 2654435761) >>> 24);
  const sources = new Map([["s", source]]);
  const read = reader(sources);
  const count = { reads: 0, bytes: 0, chunks: 0 };
  const gatherer = new Gatherer(buffer);
  const chunks: Buffer[] = [];
  gatherer.gather(
    move,
    dtype,
    [0, elementCount(move.shape) * itemBytes],
    (key, begin, target) => {
      count.reads += 1;
      count.bytes += target.length;
      read(key, begin, target);
    },
    (bytes) => {
      count.chunks += 1;
      chunks.push(Buffer.from(bytes));
    },
  );
  return { count, result: Buffer.concat(chunks), expected: naive(move, itemBytes, sources) };
}

const moveOf = (shape: readonly number[], piece: Omit<Piece, "source" | "sourceOffset" | "targetOffset">): Move => ({
  key: "t",
  shape,
  pieces: [{ source: "s", sourceOffset: 0, targetOffset: 0, ...piece }],
  rule: "test",
});

const MiB = 2 ** 20;

describe("reads are few and long", () => {
  it("a copy is read in chunks of 1 MiB, straight into the window", () => {
    const move = moveOf([3 * MiB], { sizes: [3 * MiB], sourceStrides: [1], targetStrides: [1] });
    const { count, result, expected } = traffic(move, "U8", 3 * MiB);
    expect(result.equals(expected)).toBe(true);
    expect(count).toEqual({ reads: 3, bytes: 3 * MiB, chunks: 3 });
  });

  it("a RoPE permutation reads each head once", () => {
    const [heads, half, width] = [6, 32, 2048];
    const move = moveOf([heads * 2 * half, width], {
      sizes: [heads, 2, half, width],
      sourceStrides: [2 * half * width, width, 2 * width, 1],
      targetStrides: [2 * half * width, half * width, width, 1],
    });
    const { count, result, expected } = traffic(move, "BF16", heads * 2 * half * width);
    expect(result.equals(expected)).toBe(true);
    expect(count.bytes).toBe(expected.length);
    expect(count.reads).toBeLessThanOrEqual(heads);
  });

  const transpose = (rows: number, columns: number) =>
    moveOf([rows, columns], { sizes: [rows, columns], sourceStrides: [1, rows], targetStrides: [columns, 1] });

  it("a transpose that fits the buffer reads its source once", () => {
    const { count, result, expected } = traffic(transpose(512, 3000), "BF16", 512 * 3000);
    expect(result.equals(expected)).toBe(true);
    expect(count.bytes).toBe(expected.length);
    expect(count.reads).toBe(1);
  });

  it("a transpose larger than the buffer reads runs, never single elements", () => {
    const { count, result, expected } = traffic(transpose(12_000, 100), "F32", 1_200_000, MiB);
    expect(result.equals(expected)).toBe(true);
    expect(count.reads).toBeLessThan(1000);
    // Rows of the source lie 20 kB apart: each is read for itself, as far as the window needs it.
    const far = traffic(transpose(5000, 200), "F32", 1_000_000, 2 ** 18);
    expect(far.result.equals(far.expected)).toBe(true);
    expect(far.count.bytes).toBe(far.expected.length);
    expect(far.count.bytes / far.count.reads).toBeGreaterThan(900);
    const wide = traffic(transpose(300, 4000), "F32", 1_200_000, MiB);
    expect(wide.result.equals(wide.expected)).toBe(true);
    expect(wide.count.reads).toBeLessThan(200);
  });
});

describe("a transpose that is asked for piece by piece", () => {
  const [rows, columns] = [3000, 101];
  const move = moveOf([rows, columns], {
    sizes: [rows, columns],
    sourceStrides: [1, rows],
    targetStrides: [columns, 1],
  });
  const source = new Uint8Array(2 * rows * columns).map((_, i) => Math.imul(i, 2654435761) >>> 24);
  const expected = naive(move, 2, new Map([["s", source]]));

  /** Made in ranges of so many bytes, with what was read. */
  function inRanges(ranges: readonly (readonly [number, number])[], exact = false) {
    const read: [begin: number, length: number][] = [];
    const made: Buffer[] = [];
    const gatherer = new Gatherer();
    const into: ReadBytes = (_, begin, target) => {
      read.push([begin, target.length]);
      target.set(source.subarray(begin, begin + target.length));
    };
    for (const range of ranges)
      gatherer.gather(move, "BF16", range, into, (bytes) => made.push(Buffer.from(bytes)), { exact });
    const want = Buffer.concat(ranges.map(([begin, end]) => expected.subarray(begin, end)));
    expect(Buffer.concat(made).equals(want)).toBe(true);
    return { reads: read.length, bytes: read.reduce((sum, [, length]) => sum + length, 0) };
  }
  const steps = (size: number) =>
    Array.from({ length: Math.ceil(expected.length / size) }, (_, i): [number, number] => [
      i * size,
      Math.min(expected.length, (i + 1) * size),
    ]);

  it.each([2, 4096, 65_536])("of %i bytes, reads its source once", (size) => {
    const ranges = size === 2 ? steps(size).slice(0, 3000) : steps(size);
    expect(inRanges(ranges)).toEqual({ reads: 1, bytes: expected.length });
  });

  it("here and there, reads the rows of the source that it needs", () => {
    const far: [number, number] = [401_000, 403_000];
    // Rows 1985 to 1995 of the target, one element of each source row for each.
    expect(inRanges([far])).toEqual({ reads: columns, bytes: 11 * columns * 2 });
    expect(inRanges([far], true).bytes).toBe(2000);
  });
});

describe("a tensor without sources", () => {
  it("is filled with its value", () => {
    const move: Move = { key: "t", shape: [3, 5], pieces: [], fill: { value: -1.5, dtype: "F32" }, rule: "test" };
    const bytes = collect(new Gatherer(24), { move, dtype: "F32", sources: new Map() });
    expect([...new Float32Array(new Uint8Array(bytes).buffer)]).toEqual(Array(15).fill(-1.5));
  });

  it("of too few elements is an error, not what the buffer held before", () => {
    const move = moveOf([8], { sizes: [7], sourceStrides: [1], targetStrides: [1] });
    expect(() => traffic(move, "U8", 8)).toThrow("pieces of 7 elements for a tensor of 8");
  });
});

describe("sub-byte types", () => {
  const run = (move: Move) => {
    const chunks: Buffer[] = [];
    const source = new Uint8Array([1, 2, 3, 4, 5, 6]);
    const read = reader(new Map([["s", source]]));
    new Gatherer(8).gather(move, "F4", [1, 5], read, (bytes) => chunks.push(Buffer.from(bytes)));
    return [...Buffer.concat(chunks)];
  };

  it("are copied by bytes when they stay whole", () => {
    expect(run(moveOf([3, 4], { sizes: [12], sourceStrides: [1], targetStrides: [1] }))).toEqual([2, 3, 4, 5]);
  });

  it.each([
    ["transposed", moveOf([3, 4], { sizes: [3, 4], sourceStrides: [1, 3], targetStrides: [4, 1] })],
    ["in part", moveOf([12], { sizes: [6], sourceStrides: [1], targetStrides: [1] })],
  ])("are refused %s", (_, move) => expect(() => run(move)).toThrow("can only be copied whole"));
});
