import { crc32 } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { ByteSource } from "../../../src/formats/io/byte-source.ts";
import { ChunkedTensor } from "../../../src/formats/torch/chunked-tensor.ts";
import { boxesOfRange, rowMajorStrides } from "../../../src/formats/torch/strided.ts";
import { StoredRecord } from "../../../src/formats/zip/stored-record.ts";

/** Bytes in memory, with a log of what was read of them. */
class MemorySource implements ByteSource {
  readonly name = "memory";
  readonly reads: { position: number; length: number }[] = [];

  constructor(readonly bytes: Uint8Array) {}

  get byteLength(): number {
    return this.bytes.length;
  }

  read(position: number, target: Uint8Array): void {
    if (position < 0 || position + target.length > this.bytes.length) throw new Error("a read outside the source");
    this.reads.push({ position, length: target.length });
    target.set(this.bytes.subarray(position, position + target.length));
  }
}

const where = { file: "memory", tensor: "t" };
const noise = (length: number): Uint8Array => new Uint8Array(length).map((_, i) => Math.imul(i, 2654435761) >>> 24);

/** A view read element by element. */
function naive(
  bytes: Uint8Array,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  width: number,
): Buffer {
  const out = Buffer.alloc(shape.reduce((product, n) => product * n, 1) * width);
  let to = 0;
  const visit = (axis: number, at: number): void => {
    if (axis === shape.length) for (let b = 0; b < width; b++) out[to++] = bytes[at * width + b]!;
    else for (let i = 0; i < shape[axis]!; i++) visit(axis + 1, at + i * strides[axis]!);
  };
  visit(0, offset);
  return out;
}

function viewOf(
  source: MemorySource,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  width: number,
) {
  const record = new StoredRecord(source, 0, source.byteLength, crc32(source.bytes), where);
  const chunk = { offsets: shape.map(() => 0), sizes: shape, open: () => ({ record, offset, strides }) };
  return { record, tensor: new ChunkedTensor(shape, width, [chunk]) };
}

test("any strided view, by any range, equals reading it element by element", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ size: fc.integer({ min: 1, max: 6 }), stride: fc.nat(9) }), { maxLength: 4 }),
      fc.nat(3),
      fc.constantFrom(1, 2, 4, 8),
      fc.tuple(fc.nat(), fc.nat()),
      (axes, offset, width, [a, b]) => {
        const [shape, strides] = [axes.map(({ size }) => size), axes.map(({ stride }) => stride)];
        const last = axes.reduce((at, { size, stride }) => at + (size - 1) * stride, offset);
        const source = new MemorySource(noise((last + 1) * width));
        const expected = naive(source.bytes, shape, strides, offset, width);
        const { tensor, record } = viewOf(source, shape, strides, offset, width);
        const [begin, end] = [a % (expected.length + 1), b % (expected.length + 1)].sort((x, y) => x - y);
        const target = Buffer.alloc(end! - begin!);
        tensor.read(begin!, target);
        expect(target.equals(expected.subarray(begin, end))).toBe(true);
        record.verify();
      },
    ),
    { numRuns: 500 },
  );
});

test("views far larger than the buffer, in every order of their axes", () => {
  const width = 2;
  const sizes = [40, 300, 200];
  const source = new MemorySource(noise(40 * 300 * 200 * width));
  for (const order of [
    [0, 1, 2],
    [2, 1, 0],
    [1, 0, 2],
    [2, 0, 1],
    [0, 2, 1],
  ]) {
    const strides = order.map((axis) => rowMajorStrides(sizes)[axis]!);
    const shape = order.map((axis) => sizes[axis]!);
    const expected = naive(source.bytes, shape, strides, 0, width);
    const { tensor } = viewOf(source, shape, strides, 0, width);
    for (const [begin, end] of [
      [0, expected.length],
      [1_234_567, 3_000_001],
      [777, 801],
    ] as const) {
      const target = Buffer.alloc(end - begin);
      tensor.read(begin, target);
      expect(target.equals(expected.subarray(begin, end))).toBe(true);
    }
  }
});

test("long rows of a wide matrix are read one by one, short ones together, sparse ones never with what lies between", () => {
  const [rows, columns] = [6, 1 << 18];
  const source = new MemorySource(noise(rows * columns * 2));
  const half = viewOf(source, [rows, columns / 2], [columns, 1], 0, 2);
  const target = Buffer.alloc(rows * columns);
  half.tensor.read(0, target);
  expect(target.equals(naive(source.bytes, [rows, columns / 2], [columns, 1], 0, 2))).toBe(true);
  expect(source.reads).toHaveLength(rows);

  source.reads.length = 0;
  viewOf(source, [1000, 100], [128, 1], 0, 2).tensor.read(0, Buffer.alloc(200_000));
  expect(source.reads).toHaveLength(1);

  source.reads.length = 0;
  viewOf(source, [rows, 4], [columns, 1], 0, 2).tensor.read(0, Buffer.alloc(rows * 8));
  expect(source.reads.reduce((sum, { length }) => sum + length, 0)).toBe(rows * 8);
});

test("data that are read in order are checked without reading them again", () => {
  const source = new MemorySource(noise(3_000_000));
  const { tensor, record } = viewOf(source, [3_000_000], [1], 0, 1);
  for (let at = 0; at < 3_000_000; at += 70_000) tensor.read(at, Buffer.alloc(Math.min(70_000, 3_000_000 - at)));
  const reads = source.reads.length;
  record.verify();
  expect(source.reads).toHaveLength(reads);
});

test("data read out of order are checked by verify, from where the order broke", () => {
  const source = new MemorySource(noise(3_000_000));
  const { tensor, record } = viewOf(source, [3_000_000], [1], 0, 1);
  tensor.read(0, Buffer.alloc(1_000_000));
  tensor.read(2_000_000, Buffer.alloc(1_000_000));
  source.bytes[1_500_000]! ^= 1;
  expect(() => record.verify()).toThrow("CRC-32");
  expect(() => record.verify()).toThrow("CRC-32");
});

test("a range of a box is at most two boxes an axis, in order and without gaps", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
      fc.nat(),
      fc.nat(),
      (shape, a, b) => {
        const count = shape.reduce((product, n) => product * n, 1);
        const [begin, end] = [a % (count + 1), b % (count + 1)].sort((x, y) => x - y);
        const strides = rowMajorStrides(shape);
        let at = begin!;
        let boxes = 0;
        boxesOfRange(shape, begin!, end!, (corner, sizes, first) => {
          expect(first).toBe(at);
          expect(corner.reduce((sum, c, axis) => sum + c * strides[axis]!, 0)).toBe(first);
          at += sizes.reduce((product, n) => product * n, 1);
          boxes++;
        });
        expect(at).toBe(end);
        expect(boxes).toBeLessThanOrEqual(2 * shape.length);
      },
    ),
    { numRuns: 1000 },
  );
});
