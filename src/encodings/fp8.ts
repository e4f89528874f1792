// FP8 with one scale a block, as DeepSeek-V3 stores linear weights: value = code · scale, `weight` F8_E4M3 (no infinities,
// largest 448) and `weight_scale_inv` F32, a scale for each block of rows and columns; blocks at the edges are smaller.
//   arXiv:2412.19437 §3.3.2; pytorch/pytorch@v2.13.0:torch/distributed/checkpoint/quantized_hf_storage.py
import { elementCount } from "../formats/dtype.ts";
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

/** To nearest, ties to even; beyond the largest value it saturates. */
function toE4m3(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x80 : 0;
  if (Number.isNaN(value)) return 0x7f;
  const size = Math.min(Math.abs(value), LARGEST);
  if (size === 0) return sign;
  const exponent = Math.max(-6, Math.floor(Math.log2(size)));
  const e =
    2 ** (exponent + 1) <= size ? exponent + 1 : 2 ** exponent > size && exponent > -6 ? exponent - 1 : exponent;
  // Steps of 2^(e−3): a mantissa of three bits behind the leading one, and none of that below 2⁻⁶.
  const steps = size * 2 ** (3 - e);
  const low = Math.floor(steps);
  const rest = steps - low;
  const rounded = rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
  return sign | (rounded < 8 ? rounded : Math.min((e + 7) * 8 + (rounded - 8), 0x7e));
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
    /** Of a block of zeros 1, so that nothing is divided by zero. */
    scaleOf: (amax) => (amax === 0 ? 1 : Math.fround(amax / LARGEST)),
    code: (value, scale) => toE4m3(Math.fround(value / scale)),
  };
}

export const scaleKeyOf = (weight: string): string => `${weight}_scale_inv`;
