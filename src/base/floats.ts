// The floating-point types of weights, and their bits. Every F16 and BF16 is read and written here, to the bits of torch on
// the CPU, and in vectors by src/base/casts, to the same bits. Numbers go through F32: torch has no other way from F64 to 16 bits.
//   pytorch/pytorch@v2.13.0:torch/headeronly/util/BFloat16.h, round_to_nearest_even and f32_from_bits
//   pytorch/pytorch@v2.13.0:torch/headeronly/util/Half.h, fp16_ieee_from_fp32_value and fp16_ieee_to_fp32_value
//
// Rounding is to nearest, ties to even; beyond the largest value lies infinity.
// A NaN becomes 0x7FC0 in BF16, as in torch's scalar code (its vector code gives 0xFFFF, by position in the tensor). In
// any other type it keeps its sign and leading payload bits and is made quiet. BF16 to F32 keeps all bits.
import type { Dtype } from "./dtype.ts";

export const FLOATS = ["F64", "F32", "F16", "BF16"] as const satisfies readonly Dtype[];
export type Float = (typeof FLOATS)[number];

export const isFloat = (dtype: Dtype): dtype is Float => FLOATS.some((float) => float === dtype);

/** Bytes of one element. */
export const FLOAT_BYTES: Readonly<Record<Float, number>> = { F64: 8, F32: 4, F16: 2, BF16: 2 };

/** Bits behind the point of a significand: 1 + 2^-n is the first value above 1. Integers, as a table with the same keys and
 * fractions would make V8 keep the sizes above as doubles, and loops over them half as fast. */
export const FRACTION_BITS: Readonly<Record<Float, number>> = { F64: 52, F32: 23, F16: 10, BF16: 7 };

// The loops spell out their constants: a bundle turns a module's constants into variables, which costs a tenth of the
// speed. Magnitudes of F32: 0x7f800000 is infinity, what is larger is NaN; 0x47800000 is 2^16, from where on F16 is
// infinite; 0x38800000 is 2^-14, below which it is subnormal; 0x33000000 is 2^-25, up to which it is 0.

/** F32 bits to the nearest BF16. The first `n` of each, here and below. */
export function singleToBfloat(from: Uint32Array, to: Uint16Array, n: number): void {
  for (let i = 0; i < n; i += 1) {
    const bits = from[i]! | 0;
    const nan = (bits & 0x7fffffff) > 0x7f800000;
    to[i] = nan ? 0x7fc0 : ((bits + 0x7fff + ((bits >>> 16) & 1)) | 0) >>> 16;
  }
}

/** A BF16 is the upper half of an F32. */
export function bfloatToSingle(from: Uint16Array, to: Uint32Array, n: number): void {
  for (let i = 0; i < n; i += 1) to[i] = from[i]! << 16;
}

/** F32 bits to the nearest F16. */
export function singleToHalf(from: Uint32Array, to: Uint16Array, n: number): void {
  for (let i = 0; i < n; i += 1) {
    const bits = from[i]! | 0;
    const sign = (bits >>> 16) & 0x8000;
    const size = bits & 0x7fffffff;
    if (size > 0x7f800000) to[i] = sign | 0x7e00 | ((size >>> 13) & 0x3ff);
    else if (size >= 0x47800000) to[i] = sign | 0x7c00;
    else if (size >= 0x38800000) to[i] = sign | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13);
    else to[i] = sign | subnormalHalf(size);
  }
}

/** Multiples of 2^-24, of the bits of a magnitude below 2^-14. */
function subnormalHalf(size: number): number {
  if (size <= 0x33000000) return 0;
  const shift = 126 - (size >>> 23);
  const significand = (size & 0x7fffff) | 0x800000;
  return (significand + (1 << (shift - 1)) - 1 + ((significand >>> shift) & 1)) >>> shift;
}

export function halfToSingle(from: Uint16Array, to: Uint32Array, n: number): void {
  const table = halves();
  for (let i = 0; i < n; i += 1) to[i] = table[from[i]!]!;
}

let table: Uint32Array | undefined;
/** F32 bits of every F16, made when they are first asked for. */
const halves = (): Uint32Array => (table ??= Uint32Array.from({ length: 2 ** 16 }, (_, half) => singleOfHalf(half)));

function singleOfHalf(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 31;
  const fraction = half & 0x3ff;
  if (exponent === 31) return sign | 0x7f800000 | (fraction === 0 ? 0 : 0x400000 | (fraction << 13));
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  word.values[0] = fraction * 2 ** -24;
  return sign | word.bits[0]!;
}

const values = new Float32Array(1);
/** One value, and its bits: a NaN that passes through a number may lose some. */
const word = { values, bits: new Uint32Array(values.buffer) };

/** The value of one F16 or BF16. */
export function valueFromBits(dtype: "F16" | "BF16", bits: number): number {
  word.bits[0] = dtype === "BF16" ? bits << 16 : halves()[bits]!;
  return word.values[0]!;
}

/** The values of many, as numbers of either width; `to` is as long as `from`. */
export function valuesFromBits(dtype: "F16" | "BF16", from: Uint16Array, to: Float32Array | Float64Array): void {
  const n = from.length;
  if (dtype === "F16") {
    const table = new Float32Array(halves().buffer);
    for (let i = 0; i < n; i += 1) to[i] = table[from[i]!]!;
  } else if (to instanceof Float32Array) {
    bfloatToSingle(from, new Uint32Array(to.buffer, to.byteOffset, n), n);
  } else {
    const { values, bits } = word;
    for (let i = 0; i < n; i += 1) {
      bits[0] = from[i]! << 16;
      to[i] = values[0]!;
    }
  }
}
