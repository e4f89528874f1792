// MXFP4 as gpt-oss stores experts: value = code · 2^(scale − 127), 32 codes of 4 bits (E2M1) along the last axis share a
// scale (E8M0). `X_blocks` U8 [E, out, in/32, 16], the first of two codes in the low nibble; `X_scales` U8 [E, out, in/32].
//   OCP Microscaling Formats v1.0 §5.3.3, §6.3
//   huggingface/transformers@v5.23.0:src/transformers/integrations/mxfp4.py
import { elementCount } from "../base/dtype.ts";
import type { Encoding } from "./encoding.ts";

/** Elements that share a scale. */
export const GROUP = 32;

const VALUES = Float64Array.of(0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6);
/** By scale. 2^128 has no place in f32, but 0 · 2^128 and 0.5 · 2^128 have. */
const POWERS = Float64Array.from({ length: 256 }, (_, scale) => 2 ** (scale - 127));

/** Nearest, of two equally near the lower index; beyond 6 it saturates. */
function toE2m1(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 8 : 0;
  const size = Math.abs(value);
  if (size > 1.75) return sign | (size > 3.5 ? (size > 5 ? 7 : 6) : size > 2.5 ? 5 : 4);
  return sign | (size > 0.75 ? (size > 1.25 ? 3 : 2) : size > 0.25 ? 1 : 0);
}

export const mxfp4: Encoding = {
  name: "mxfp4",
  codesPerByte: 2,
  scaleDtype: "U8",
  rowsPerScale: 1,
  group: GROUP,
  stored: ({ key, shape }) => {
    const [lead, width] = [shape.slice(0, -1), shape.at(-1)!];
    const groups = [...lead, width / GROUP];
    return {
      codes: { key: `${key}_blocks`, dtype: "U8", shape: [...groups, GROUP / 2], byteLength: elementCount(shape) / 2 },
      scales: { key: `${key}_scales`, dtype: "U8", shape: groups, byteLength: elementCount(groups) },
    };
  },
  scaleIndex: (shape, row, column) => (row * shape.at(-1)!) / GROUP + Math.floor(column / GROUP),
  run: (_, column) => GROUP - (column % GROUP),
  value: (code, scale) => Math.fround(VALUES[code]! * POWERS[scale]!),
  decode(codes, at, scale, out, from, to) {
    const power = POWERS[scale]!;
    const shift = at - from;
    for (let i = from; i < to; i++) {
      const code = i + shift;
      out[i] = VALUES[(codes[code >> 1]! >> ((code & 1) << 2)) & 15]! * power;
    }
  },
  scaleOf: (amax) => Math.min(254, Math.max(0, (amax === 0 ? 0 : floorLog2(amax) - 2) + 127)),
  code: (value, scale) => toE2m1(value / POWERS[scale]!),
  encode(values, from, to, scale, codes, at) {
    const power = POWERS[scale]!;
    const shift = at - from;
    for (let i = from; i < to; i++) {
      const code = i + shift;
      const nibble = toE2m1(values[i]! / power);
      if (code & 1) codes[code >> 1] = codes[code >> 1]! | (nibble << 4);
      else codes[code >> 1] = nibble;
    }
  },
  hasNaN: false,
};

function floorLog2(x: number): number {
  const e = Math.floor(Math.log2(x));
  return 2 ** e > x ? e - 1 : 2 ** (e + 1) <= x ? e + 1 : e;
}
