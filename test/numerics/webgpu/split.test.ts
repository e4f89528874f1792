import { describe, expect, it } from "vitest";
import { Device, usage } from "../../../numerics/webgpu/device/device.ts";
import { Memory } from "../../../numerics/webgpu/device/memory.ts";
import { Pipelines } from "../../../numerics/webgpu/kernel.ts";
import { flatSize } from "../../../numerics/webgpu/kernels/elementwise.ts";
import type { Packing } from "../../../numerics/webgpu/kernels/gemm.ts";
import { rowExponents, splitRows } from "../../../numerics/webgpu/kernels/split.ts";
import { type Binding, grid, Queue } from "../../../numerics/webgpu/queue.ts";
import { describeGpu } from "../../helpers/gpu.ts";
import { inexactBf16, offBeyondBounds, type SplitRow, splitRow, toF16 } from "../halves.ts";
import { normal, toBf16 } from "../harness.ts";

/** Normal values, each times a power of two between 2^-reach and 1, one in 13 times 2^10 more. */
const spread = (count: number, seed: number, reach: number): Float32Array =>
  normal(count, seed).map((x, i) => x * 2 ** (((i * 7) % (reach + 1)) * -1 + (i % 13 === 0 ? 10 : 0)));

const bf16 = (row: Float32Array): Float32Array =>
  new Float32Array(Uint32Array.from(toBf16(row), (bits) => bits << 16).buffer);

const joined = ({ scale, high, low }: SplitRow): number[] =>
  Array.from(high, (x, i) => (x + 2 ** -11 * low[i]!) / scale);

describe("rows as sums of f16", () => {
  it("f16 as IEEE 754 has it", () => {
    const pairs = [
      [1, 1],
      [1 + 2 ** -11, 1],
      [1 + 3 * 2 ** -11, 1 + 2 ** -9],
      [-65519, -65504],
      [65520, Number.POSITIVE_INFINITY],
      [2 ** -25, 0],
      [3 * 2 ** -25, 2 ** -23],
    ];
    for (const [x, expected] of pairs) expect(toF16(x!)).toBe(expected);
  });

  it.each([4, 30, 70])("two parts keep what f32 has, over 2^%i", (reach) => {
    for (const size of [2 ** -120, 1e-20, 0.03, 1, 7e4, 2 ** 110]) {
      const row = spread(400, 1, reach).map((x) => x * size);
      expect(offBeyondBounds(row, joined(splitRow(row)))).toEqual([]);
    }
  });

  it("one part does not", () => {
    const row = spread(400, 1, 4);
    const { scale, high } = splitRow(row);
    expect(
      offBeyondBounds(
        row,
        high.map((x) => x / scale),
      ).length,
    ).toBeGreaterThan(300);
  });

  it("one part keeps bf16, but for values 2^-31 times as large as the row's largest", () => {
    const row = bf16(spread(400, 2, 60));
    const { scale, one } = splitRow(row);
    const found = one.map((x) => x / scale);
    expect(inexactBf16(row, found)).toEqual([]);
    expect(found).not.toEqual(Float64Array.from(row));
    expect(inexactBf16(spread(400, 2, 60), found)).not.toEqual([]);
  });

  it("a product of parts is one of f32, outliers or not", () => {
    const [x, w] = [spread(1000, 3, 20), spread(1000, 4, 20)];
    const [a, b] = [splitRow(x), splitRow(w)];
    let [exact, size, parts, highOnly] = [0, 0, 0, 0];
    for (let k = 0; k < x.length; k++) {
      exact += x[k]! * w[k]!;
      size += Math.abs(x[k]! * w[k]!);
      highOnly += a.high[k]! * b.high[k]!;
      parts += a.high[k]! * b.high[k]! + 2 ** -11 * (a.low[k]! * b.high[k]! + a.high[k]! * b.low[k]!);
    }
    const errorOf = (sum: number) => Math.abs(sum / a.scale / b.scale - exact) / size;
    expect(errorOf(parts)).toBeLessThan(2 ** -23);
    expect(errorOf(highOnly)).toBeGreaterThan(2 ** -20);
  });
});

/** Runs both kernels over rows of `width` and gives the rows back, put together again. */
async function splitOnDevice(rows: Float32Array[], packing: Packing, parts: 1 | 2): Promise<number[][]> {
  const [width, padded, depth, block] = [rows[0]!.length, 16, 48, [8, 16] as const];
  const device = await Device.open();
  const [memory, pipelines] = [new Memory(device), new Pipelines(device)];
  const [exponents, split] = [rowExponents(packing), splitRows({ packing, parts, block })];
  await pipelines.prepare([exponents, split]);
  const queue = new Queue(device, memory, pipelines);
  const pitch = packing === "f32" ? width : 48;
  const stored = packing === "f32" ? new Float32Array(rows.length * pitch) : new Uint16Array(rows.length * pitch);
  for (const [i, row] of rows.entries()) stored.set(packing === "f32" ? row : toBf16(row), i * pitch);
  const bytes = new Uint8Array(stored.buffer);
  const whole = (size: number): Binding => ({ buffer: memory.take(size), offset: 0, size: Math.ceil(size / 16) * 16 });
  const pairs = (padded * depth) / 2;
  const [E, Y] = [whole(4 * rows.length), whole(4 * pairs * parts)];
  await queue.reserve(bytes.length);
  const X = queue.upload(bytes.length, 4, (at, piece) => piece.set(bytes.subarray(at, at + piece.length)));
  const count = { rows: rows.length };
  queue.dispatch(exponents, [X, E], { ...count, words: bytes.length / 4 / rows.length }, grid(rows.length));
  const params = { ...count, count: pairs, width, pitch, steps: depth / block[1] };
  queue.dispatch(split, [X, E, Y], params, grid(Math.ceil(pairs / flatSize)));
  const staging = memory.create(E.size + Y.size, usage.mapRead | usage.copyDst);
  queue.copy(E, { buffer: staging, offset: 0, size: E.size });
  queue.copy(Y, { buffer: staging, offset: E.size, size: Y.size });
  await queue.finish();
  await staging.mapAsync(1);
  const [fields, halves] = [new Uint32Array(staging.getMappedRange(0, E.size).slice(0)), [] as number[]];
  for (const bits of new Uint16Array(staging.getMappedRange(E.size, Y.size))) halves.push(fromF16(bits));
  device.close();
  const at = (row: number, k: number, part: number) => {
    const index = Math.floor(row / block[0]) * (depth / block[1]) + Math.floor(k / block[1]);
    return halves[((index * parts + part) * block[0] + (row % block[0])) * block[1] + (k % block[1])]!;
  };
  for (let row = 0; row < padded; row++) {
    for (let k = row < rows.length ? width : 0; k < depth; k++) expect(at(row, k, 0)).toBe(0);
  }
  return rows.map((_, row) =>
    Array.from({ length: width }, (_, k) => {
      return (at(row, k, 0) + (parts === 2 ? 2 ** -11 * at(row, k, 1) : 0)) * 2 ** (fields[row]! - 141);
    }),
  );
}

function fromF16(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

describeGpu("rows are split on the device as on the host", () => {
  it("f32 in two parts, rows of all sizes; what is not finite becomes NaN", async () => {
    const sizes = [1, 2 ** -80, 1e-9, 0.02, 300, 1e30, 2 ** 115, 0];
    const rows = sizes.map((size, i) => spread(41, i, 40).map((x) => (size === 0 ? 0 : x * size)));
    for (const [i, found] of (await splitOnDevice(rows, "f32", 2)).entries()) {
      expect(offBeyondBounds(rows[i]!, found), `row ${i}`).toEqual([]);
    }
    const bad = spread(41, 9, 3);
    bad.set([Number.NaN, Number.NEGATIVE_INFINITY], 7);
    const [found] = await splitOnDevice([bad], "f32", 2);
    expect([...found!.keys()].filter((k) => Number.isNaN(found![k]))).toEqual([7, 8]);
  });

  it("bf16 in one", async () => {
    const rows = [1, 1e-6, 2 ** 60].map((size, i) => bf16(spread(41, i, 50).map((x) => x * size)));
    for (const [i, found] of (await splitOnDevice(rows, "bf16", 1)).entries()) {
      expect(inexactBf16(rows[i]!, found), `row ${i}`).toEqual([]);
    }
  });
});
