import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bfloatToSingle,
  FLOAT_BYTES,
  FLOATS,
  FRACTION_BITS,
  halfToSingle,
  isFloat,
  singleToBfloat,
  singleToHalf,
  valueFromBits,
  valuesFromBits,
} from "../../src/base/floats.ts";

const PATTERNS = Uint16Array.from({ length: 2 ** 16 }, (_, bits) => bits);
/** Exponent bits of each type; its bias is half of what they can count. */
const EXPONENT_BITS = { F16: 5, BF16: 8 } as const;
const SMALL = ["F16", "BF16"] as const;

/** IEEE 754 by its definition. */
function meaning(dtype: "F16" | "BF16", bits: number): number {
  const fractionBits = FRACTION_BITS[dtype];
  const most = 2 ** EXPONENT_BITS[dtype] - 1;
  const bias = (most - 1) / 2;
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> fractionBits) & most;
  const fraction = (bits & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  if (exponent === most) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
}

const bitsOf = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0]!;
const widen = { F16: halfToSingle, BF16: bfloatToSingle };
const narrow = { F16: singleToHalf, BF16: singleToBfloat };

function narrowed(dtype: "F16" | "BF16", single: number): number {
  const to = new Uint16Array(1);
  narrow[dtype](Uint32Array.of(single), to, 1);
  return to[0]!;
}

const isNaNBits = (dtype: "F16" | "BF16", bits: number) => Number.isNaN(meaning(dtype, bits));

describe.each(SMALL)("every %s", (dtype) => {
  const singles = new Uint32Array(2 ** 16);
  widen[dtype](PATTERNS, singles, 2 ** 16);

  it("has the value that IEEE 754 gives it, one by one and by the thousand, in either width", () => {
    const [f32, f64] = [new Float32Array(2 ** 16), new Float64Array(2 ** 16)];
    valuesFromBits(dtype, PATTERNS, f32);
    valuesFromBits(dtype, PATTERNS, f64);
    const wrong = [...PATTERNS].filter((bits) => {
      const expected = meaning(dtype, bits);
      return [valueFromBits(dtype, bits), f32[bits], f64[bits]].some((value) => !Object.is(value, expected));
    });
    expect(wrong).toEqual([]);
    expect(Buffer.from(f32.buffer).equals(Buffer.from(singles.buffer))).toBe(true);
  });

  it("comes back from F32 as it was; a NaN as the policy says", () => {
    const back = new Uint16Array(2 ** 16);
    narrow[dtype](singles, back, 2 ** 16);
    const expected = PATTERNS.map((bits) =>
      isNaNBits(dtype, bits) ? (dtype === "BF16" ? 0x7fc0 : bits | 0x200) : bits,
    );
    expect(Buffer.from(back.buffer).equals(Buffer.from(expected.buffer))).toBe(true);
  });

  it("as F32, a NaN keeps its sign and payload; that of an F16 becomes quiet", () => {
    const nans = [...PATTERNS].filter((bits) => isNaNBits(dtype, bits));
    expect(nans.length).toBe(2 * (2 ** FRACTION_BITS[dtype] - 1));
    for (const bits of nans) {
      const expected = dtype === "BF16" ? bits << 16 : ((bits & 0x8000) << 16) | 0x7fc00000 | ((bits & 0x3ff) << 13);
      if (singles[bits] !== expected >>> 0) expect(singles[bits]!.toString(16)).toBe((expected >>> 0).toString(16));
    }
  });
});

describe.each(SMALL)("F32 to %s", (dtype) => {
  /** Magnitudes by their bits, infinity standing where the next value would. */
  const magnitudes = Array.from({ length: 2 ** 15 }, (_, bits) => meaning(dtype, bits)).filter((x) => !Number.isNaN(x));
  const infinity = magnitudes.length - 1;
  magnitudes[infinity] = 2 ** (dtype === "F16" ? 16 : 128);

  /** The nearest, of two the even one, found in the list of all. */
  function nearest(value: number): number {
    const size = Math.abs(value);
    let [low, high] = [0, infinity];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (magnitudes[middle]! <= size) low = middle;
      else high = middle - 1;
    }
    const next = Math.min(infinity, low + 1);
    const [below, above] = [size - magnitudes[low]!, magnitudes[next]! - size];
    return (
      (Object.is(value, -0) || value < 0 ? 0x8000 : 0) |
      (below < above || (below === above && low % 2 === 0) ? low : next)
    );
  }

  const wrong = (single: number) => {
    const value = new Float32Array(Uint32Array.of(single).buffer)[0]!;
    return !Number.isNaN(value) && narrowed(dtype, single) !== nearest(value);
  };

  it("is to nearest, ties to even: beside every value and every midpoint", () => {
    const found: string[] = [];
    for (let bits = 0; bits < infinity; bits++) {
      const here = bitsOf(magnitudes[bits]!);
      const middle = bitsOf((magnitudes[bits]! + magnitudes[bits + 1]!) / 2);
      for (const single of [here, here + 1, middle - 1, middle, middle + 1]) {
        if (wrong(single) || wrong((single | 0x80000000) >>> 0)) found.push(single.toString(16));
      }
    }
    expect(found).toEqual([]);
  });

  it("is to nearest of any value", () => {
    fc.assert(
      fc.property(fc.nat(2 ** 32 - 1), (single) => !wrong(single)),
      { numRuns: 20_000 },
    );
  });

  it("zeros and infinities keep their sign; a NaN is quiet", () => {
    expect([0, 0x80000000, 0x7f800000, 0xff800000].map((single) => narrowed(dtype, single))).toEqual(
      dtype === "F16" ? [0, 0x8000, 0x7c00, 0xfc00] : [0, 0x8000, 0x7f80, 0xff80],
    );
    // Quiet or not, with payloads high and low, of either sign.
    const nans = [0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001, 0x7fa12345, 0xffffffff];
    expect(nans.map((single) => narrowed(dtype, single))).toEqual(
      dtype === "F16" ? [0x7e00, 0xfe00, 0x7e00, 0xfe00, 0x7f09, 0xffff] : nans.map(() => 0x7fc0),
    );
  });
});

it("knows the types that weights are computed in, and their sizes", () => {
  expect([isFloat("BF16"), isFloat("F8_E4M3"), isFloat("I64")]).toEqual([true, false, false]);
  expect(FLOATS.map((dtype) => FLOAT_BYTES[dtype])).toEqual([8, 4, 2, 2]);
  expect(1 + 2 ** -FRACTION_BITS.F32).toBe(Math.fround(1 + 2 ** -23));
});
