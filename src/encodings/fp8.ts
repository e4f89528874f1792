// FP8 with one scale per block, as DeepSeek-V3 stores linear weights: value = code · scale, `weight` F8_E4M3 (no
// infinities, largest 448) and `weight_scale_inv` F32, a scale for each block of rows and columns; blocks at the edges
// are smaller.
//   arXiv:2412.19437 §3.3.2; pytorch/pytorch@v2.13.0:torch/distributed/checkpoint/quantized_hf_storage.py
import { elementCount } from "../base/dtype.ts";
import type { Encoding } from "./encoding.ts";

const LARGEST = 448;

/** f32 of every E4M3 pattern: 1 sign, 4 exponent (bias 7) and 3 mantissa bits; all ones is NaN. */
const VALUES = Float32Array.from({ length: 256 }, (_, code) => {
  const sign = code & 0x80 ? -1 : 1;
  const exponent = (code >> 3) & 15;
  const mantissa = code & 7;
  if (exponent === 15 && mantissa === 7) return Number.NaN;
  return exponent === 0 ? sign * mantissa * 2 ** -9 : sign * (8 + mantissa) * 2 ** (exponent - 10);
});

const NAN = 0x7f;
const word = new Float32Array(1);
const wordBits = new Uint32Array(word.buffer);

/** f32 bits of the infinity and of 2⁻⁶, below which codes are multiples of 2⁻⁹. */
const INFINITY = 0x7f800000;
const NORMAL = 0x3c800000;
/** Bias 127 against bias 7, in the place of f32's exponent. */
const REBIAS = 0x3c000000;

/** To nearest, ties to even; beyond the largest value it saturates. */
function toE4m3(value: number): number {
  word[0] = value;
  const bits = wordBits[0]! | 0;
  const sign = (bits >>> 24) & 0x80;
  const size = bits & 0x7fffffff;
  if (size > INFINITY) return sign | NAN;
  // For 0 ≤ x < 2⁵¹ adding 2⁵² rounds to even.
  if (size < NORMAL) return sign | (Math.abs(value) * 2 ** 9 + 2 ** 52 - 2 ** 52);
  return sign | Math.min(0x7e, (size - REBIAS + 0x7ffff + ((size >>> 20) & 1)) >>> 20);
}

/** @param block rows and columns that share a scale */
export function fp8Blocks([rows, columns]: readonly [number, number]): Encoding {
  const across = (shape: readonly number[]) => Math.ceil(shape.at(-1)! / columns);
  return {
    name: "fp8",
    codesPerByte: 1,
    scaleDtype: "F32",
    rowsPerScale: rows,
    stored: ({ key, shape }) => {
      const [out, width] = [shape[0]!, shape[1]!];
      const grid = [Math.ceil(out / rows), Math.ceil(width / columns)];
      return {
        codes: { key, dtype: "F8_E4M3", shape, byteLength: elementCount(shape) },
        scales: { key: scaleKeyOf(key), dtype: "F32", shape: grid, byteLength: 4 * elementCount(grid) },
      };
    },
    scaleIndex: (shape, row, column) => Math.floor(row / rows) * across(shape) + Math.floor(column / columns),
    run: (shape, column) => Math.min(shape.at(-1)!, (Math.floor(column / columns) + 1) * columns) - column,
    value: (code, scale) => Math.fround(VALUES[code]! * scale),
    decode(codes, at, scale, out, from, to) {
      const shift = at - from;
      for (let i = from; i < to; i++) out[i] = VALUES[codes[i + shift]!]! * scale;
      signNaNs(codes, shift, out, from, to);
    },
    /** Of a block of zeros 1, so that nothing is divided by zero. */
    scaleOf: (amax) => (amax === 0 ? 1 : Math.fround(amax / LARGEST)),
    code: (value, scale) => toE4m3(Math.fround(value / scale)),
    encode(values, from, to, scale, codes, at) {
      const shift = at - from;
      for (let i = from; i < to; i++) codes[i + shift] = toE4m3(values[i]! / scale);
      if (values.subarray(from, to).some(Number.isNaN)) codeNaNs(values, from, to, codes, shift);
    },
    hasNaN: true,
  };
}

/** Arithmetic may lose the sign of a NaN, and with it which of two codes it was. */
function signNaNs(codes: Uint8Array, shift: number, out: Float32Array, from: number, to: number): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = from; i < to; i++) {
    const code = codes[i + shift]!;
    if ((code & 0x7f) === NAN) bits[i] = ((code & 0x80) << 24) | 0x7fc00000;
  }
}

function codeNaNs(values: Float32Array, from: number, to: number, codes: Uint8Array, shift: number): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = from; i < to; i++) {
    if ((bits[i]! & 0x7fffffff) > INFINITY) codes[i + shift] = ((bits[i]! >>> 24) & 0x80) | NAN;
  }
}

export const scaleKeyOf = (weight: string): string => `${weight}_scale_inv`;
