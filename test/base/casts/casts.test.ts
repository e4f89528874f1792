// Casts in vectors against one value at a time: bits, and what is measured, by their definitions.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { castKernels, file, source } from "../../../scripts/cast-kernels.mjs";
import { castElements, type Losses } from "../../../src/base/casts/casts.ts";
import {
  FLOAT_BYTES,
  FLOATS,
  type Float,
  singleToBfloat,
  singleToHalf,
  valuesFromBits,
} from "../../../src/base/floats.ts";
import { Blocks } from "../../../src/base/threads/blocks.ts";

type Pair = readonly [Float, Float];
const pairs = FLOATS.flatMap((from) => FLOATS.filter((to) => to !== from).map((to): Pair => [from, to]));
const EXACT = new Set(["F32,F64", "F16,F32", "F16,F64", "BF16,F32", "BF16,F64"]);
const none = (): Losses => ({ maxRelativeError: 0, overflows: 0, vanished: 0, remains: false });
const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** Values of any type as numbers. */
function numbers(bytes: Uint8Array, type: Float): Float64Array {
  const { buffer, byteOffset } = bytes.slice();
  const count = bytes.length / FLOAT_BYTES[type];
  if (type === "F64") return new Float64Array(buffer, byteOffset, count);
  if (type === "F32") return Float64Array.from(new Float32Array(buffer, byteOffset, count));
  const values = new Float64Array(count);
  valuesFromBits(type, new Uint16Array(buffer, byteOffset, count), values);
  return values;
}

/** Rounded by way of F32, NaNs aside, which `nanOf` has. */
function expectedBytes(values: Float64Array, nans: (i: number) => bigint, to: Float): Uint8Array {
  const singles = Float32Array.from(values);
  const bits = new Uint32Array(singles.buffer);
  const halves = new Uint16Array(values.length);
  if (to === "F16") singleToHalf(bits, halves, values.length);
  if (to === "BF16") singleToBfloat(bits, halves, values.length);
  const doubles = Float64Array.from(singles);
  const longs = new BigUint64Array(doubles.buffer);
  for (const [i, value] of values.entries()) {
    if (!Number.isNaN(value)) continue;
    const nan = nans(i);
    longs[i] = nan;
    bits[i] = Number((nan >> 63n) << 31n) + 0x7f800000 + Number((nan >> 29n) & 0x7fffffn);
    halves[i] = to === "BF16" ? 0x7fc0 : Number(((nan >> 63n) << 15n) | 0x7c00n | ((nan >> 42n) & 0x3ffn));
  }
  return bytesOf({ F64: doubles, F32: singles, F16: halves, BF16: halves }[to]);
}

/** A NaN of any type as a quiet one of F64, with its sign and payload. */
function quietNans(bytes: Uint8Array, type: Float): (i: number) => bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const size = FLOAT_BYTES[type];
  const fraction = { F64: 52n, F32: 23n, F16: 10n, BF16: 7n }[type];
  return (i) => {
    const bits =
      size === 8
        ? view.getBigUint64(8 * i, true)
        : BigInt(size === 4 ? view.getUint32(4 * i, true) : view.getUint16(2 * i, true));
    const payload = (bits & ((1n << fraction) - 1n)) << (52n - fraction);
    return ((bits >> BigInt(8 * size - 1)) << 63n) | 0x7ff8000000000000n | payload;
  };
}

function measured(values: Float64Array, made: Float64Array): Losses {
  const losses = none();
  for (const [i, value] of values.entries()) {
    const [size, left] = [Math.abs(value), Math.abs(made[i]!)];
    if (left !== 0) losses.remains = true;
    else if (size !== 0) losses.vanished += 1;
    if (left === Infinity && size < Infinity) losses.overflows += 1;
    else if (left < Infinity && size > 0)
      losses.maxRelativeError = Math.max(losses.maxRelativeError, Math.abs(left - size) / size);
  }
  return losses;
}

/** Every value in turn, and blocks of a few, whose losses no larger ones hide. */
function check([from, to]: Pair, bytes: Uint8Array): void {
  const values = numbers(bytes, from);
  const count = values.length;
  const expected = expectedBytes(values, quietNans(bytes, from), to);
  // A BF16 in an F32 keeps all bits.
  if (from === "BF16" && to === "F32")
    for (let i = 0; i < count; i += 1) expected.set(bytes.subarray(2 * i, 2 * i + 2), 4 * i + 2);
  const made = numbers(expected, to);
  for (const step of [count, 5]) {
    const out = new Uint8Array(expected.length);
    for (let i = 0; i < Math.min(count, 20_000); i += step) {
      const n = Math.min(step, count - i);
      const part = out.subarray(i * FLOAT_BYTES[to], (i + n) * FLOAT_BYTES[to]);
      const losses = none();
      castElements([from, to], bytes.subarray(i * FLOAT_BYTES[from], (i + n) * FLOAT_BYTES[from]), part, losses);
      const truth = EXACT.has(`${from},${to}`) ? none() : measured(values.subarray(i, i + n), made.subarray(i, i + n));
      if (JSON.stringify(losses) !== JSON.stringify(truth))
        expect.fail(
          `${[...values.subarray(i, i + Math.min(n, 5))]}: ${JSON.stringify(losses)}, not ${JSON.stringify(truth)}`,
        );
    }
    if (step === count && !Buffer.from(out).equals(expected)) {
      const at = Math.floor(out.findIndex((byte, i) => byte !== expected[i]) / FLOAT_BYTES[to]);
      expect.fail(`element ${at}, ${values[at]}: ${numbers(out, to)[at]}, not ${made[at]}`);
    }
  }
}

/** Words that look random, the same in each run. */
function words(count: number, seed: number): Uint32Array {
  let x = seed;
  return Uint32Array.from({ length: count }, () => {
    x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0;
    const y = Math.imul(x ^ (x >>> 15), 0x85ebca6b);
    return (y ^ (y >>> 13)) >>> 0;
  });
}

/** Around every exponent, fractions beside which either type rounds the other way. */
function edges(exponents: number, place: number): Uint32Array {
  const all: number[] = [];
  for (let exponent = 0; exponent < exponents; exponent += 1)
    for (const bit of [0, 12, 13, 15, 16, place - 1])
      for (const beside of [-1, 0, 1]) {
        const word = (exponent << place) + (1 << bit) + beside;
        all.push(word >>> 0, (word | 0x80000000) >>> 0);
      }
  return Uint32Array.from(all);
}

/** Exponents as weights have them, and as few as a worst case needs. */
const near = (all: Uint32Array, place: number, first: number, count: number): Uint32Array =>
  all.map((word, i) => ((word & ~(-1 << place)) | ((first + (i % count)) << place) | (word & 0x80000000)) >>> 0);

/** Upper halves of F64, with lower ones that round either way. */
const doubled = (upper: Uint32Array): Uint32Array =>
  Uint32Array.from({ length: 2 * upper.length }, (_, i) =>
    i % 2 === 1 ? upper[i >> 1]! : [0, 1, 0x0fffffff, 0x10000000, 0x10000001, 0x30000000, 0xffffffff][(i >> 1) % 7]!,
  );

function samples(type: Float): readonly Uint8Array[] {
  const random = words(2 ** 16, 7);
  // The last ones become infinite in F16 or just do not, with errors that are not the largest.
  const last = near(
    random.map((word) => word | 0x7fe000),
    23,
    140,
    3,
  );
  if (type === "F32")
    return [edges(256, 23), random, near(random, 23, 100, 45), near(random, 23, 0, 3), last].map(bytesOf);
  if (type === "F64") {
    const uppers = [
      edges(2048, 20),
      random,
      near(random, 20, 1000, 45),
      near(random, 20, 870, 8),
      near(random, 20, 0, 2),
    ];
    return uppers.map((upper) => bytesOf(doubled(upper)));
  }
  return [bytesOf(Uint16Array.from({ length: 2 ** 16 }, (_, i) => i))];
}

describe.each(pairs)("%s to %s", (from, to) => {
  it("bits and losses are those of every value by itself", () => {
    for (const bytes of samples(from)) check([from, to], bytes);
  });

  it("in the memory of blocks as elsewhere, at any place and of any length, and in any pieces", () => {
    const blocks = new Blocks();
    const bytes = samples(from)
      .at(-1)!
      .subarray(0, 1009 * FLOAT_BYTES[from]);
    const whole = new Uint8Array(1009 * FLOAT_BYTES[to]);
    const truth = none();
    castElements([from, to], bytes, whole, truth);
    for (const cuts of [
      [0, 1009],
      [0, 3, 1000, 1009],
      [0, 512, 513, 520, 1009],
    ]) {
      const losses = none();
      const made = cuts.slice(1).map((end, i) => {
        const own = blocks.lend(bytes.length + 1)!.subarray(1);
        own.set(bytes);
        const target = blocks.lend(whole.length + 5)!.fill(0xee);
        const part = target.subarray(3, 3 + (end - cuts[i]!) * FLOAT_BYTES[to]);
        castElements([from, to], own.subarray(cuts[i]! * FLOAT_BYTES[from]), part, losses);
        expect([target[2], target[3 + part.length]], "beside it").toEqual([0xee, 0xee]);
        return Buffer.from(part);
      });
      expect(Buffer.concat(made).equals(whole)).toBe(true);
      expect(losses).toEqual(truth);
    }
  });
});

describe("F64 and F32", () => {
  const made = (pair: Pair, values: ArrayBufferView, bytes: number): ArrayBuffer => {
    const out = new Uint8Array(bytes);
    castElements(pair, bytesOf(values), out, undefined);
    return out.buffer;
  };

  it("F64 becomes the nearest F32, a NaN a quiet one of its sign and leading payload", () => {
    const given = [1.5, -0, 2 ** -149, 2 ** -150, 3 * 2 ** -150, 3.4028235677973366e38, -1e300, Infinity];
    const nans = [0x7ff0000000000001n, 0xfff8000000000000n, 0x7ff4123456789abcn, 0xffffffffffffffffn];
    const from = BigUint64Array.from([...new BigUint64Array(Float64Array.from(given).buffer), ...nans]);
    const to = made(["F64", "F32"], from, 4 * from.length);
    expect([...new Float32Array(to, 0, given.length)]).toEqual(given.map(Math.fround));
    expect([...new Uint32Array(to, 4 * given.length)]).toEqual([0x7fc00000, 0xffc00000, 0x7fe091a2, 0xffffffff]);
  });

  it("F32 becomes itself as F64, a NaN a quiet one of its sign and payload", () => {
    const bits = Uint32Array.of(0x3fc00000, 0x80000000, 1, 0x7f800000, 0x7f800001, 0xffc00000, 0x7fa12345, 0xffffffff);
    const to = made(["F32", "F64"], bits, 8 * bits.length);
    expect([...new Float64Array(to, 0, 4)]).toEqual([1.5, -0, 2 ** -149, Infinity]);
    expect([...new BigUint64Array(to, 32)]).toEqual([
      0x7ff8000020000000n,
      0xfff8000000000000n,
      0x7ffc2468a0000000n,
      0xffffffffe0000000n,
    ]);
  });

  it("only what there is room for is written", () => {
    const all = new Float64Array(3).fill(7);
    castElements(["F32", "F64"], new Uint8Array(12), bytesOf(all).subarray(0, 16), undefined);
    expect([...all]).toEqual([0, 0, 7]);
  });
});

it("the kernels are what their script makes", async () => {
  expect(readFileSync(file, "utf8")).toBe(source(await castKernels()));
});
