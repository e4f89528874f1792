// f32 values to and from the bits of the types that weights are decoded to.

import { type Dtype, torchName } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";
import {
  bfloatToSingle,
  FLOAT_BYTES,
  halfToSingle,
  singleToBfloat,
  singleToHalf,
  valuesFromBits,
} from "../base/floats.ts";

/** Types that decoded weights can have. */
const DECODED = ["F32", "BF16", "F16"] as const;
export type Decoded = (typeof DECODED)[number];

/** The type that a config declares for weights (`bfloat16`), BF16 where it is silent. Throws InputError DTYPE_UNKNOWN. */
export function decodedDtype(declared: unknown, where: string): Decoded {
  if (declared === undefined || declared === null) return "BF16";
  const name = typeof declared === "string" ? declared.replace(/^torch\./, "") : undefined;
  const dtype = DECODED.find((each) => torchName(each) === name);
  if (dtype !== undefined) return dtype;
  throw new InputError("DTYPE_UNKNOWN", `${where}: decoded weights cannot have the dtype that it declares`, {
    file: where,
    expected: DECODED.map(torchName).join(", "),
    found: JSON.stringify(declared),
    help: "set dtype in the config to one of these",
  });
}

/** Replaces the bits of the first `n` values by what they are once they are stored as `dtype`; `words` are overwritten. */
export function roundFloats(dtype: Decoded, bits: Uint32Array, words: Uint16Array, n: number): void {
  if (dtype === "BF16") {
    singleToBfloat(bits, words, n);
    bfloatToSingle(words, bits, n);
  } else if (dtype === "F16") {
    singleToHalf(bits, words, n);
    halfToSingle(words, bits, n);
  }
}

/**
 * Writes values at element `at` of little-endian bytes. Unlike a cast, a NaN keeps its sign in BF16, too: decoded values
 * are encoded again, and FP8 has a code for each of the two NaNs.
 */
export function storeFloats(
  dtype: Decoded,
  values: Float32Array,
  target: Uint8Array,
  at: number,
  scratch: Uint16Array = new Uint16Array(values.length),
): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const words = dtype === "F32" ? bits : halvesOf(dtype, bits, scratch.subarray(0, bits.length));
  target.set(new Uint8Array(words.buffer, words.byteOffset, words.byteLength), at * FLOAT_BYTES[dtype]);
}

/** What a cast to BF16 makes of every NaN. */
const BF16_NAN = 0x7fc0;

function halvesOf(dtype: "BF16" | "F16", bits: Uint32Array, words: Uint16Array): Uint16Array {
  const count = bits.length;
  if (dtype === "F16") singleToHalf(bits, words, count);
  else {
    singleToBfloat(bits, words, count);
    if (words.includes(BF16_NAN)) signNaNs(bits, words);
  }
  return words;
}

function signNaNs(bits: Uint32Array, words: Uint16Array): void {
  for (let i = 0; i < words.length; i++) {
    if (words[i] === BF16_NAN) words[i] = BF16_NAN | ((bits[i]! >>> 16) & 0x8000);
  }
}

/** Little-endian bytes, at the beginning of their buffer, as f32 values: in that buffer, or in `out`. */
export function loadFloats(dtype: Decoded, bytes: Uint8Array, out: Float32Array): Float32Array {
  const { buffer, byteLength } = bytes;
  if (dtype === "F32") return new Float32Array(buffer, 0, byteLength / 4);
  const words = new Uint16Array(buffer, 0, byteLength / 2);
  valuesFromBits(dtype, words, out);
  return out;
}

/** The type of values that can be encoded. Throws InputError ENCODING_SOURCE for any other. */
export function encodable(dtype: Dtype, tensor: string): Decoded {
  const decoded = DECODED.find((each) => each === dtype);
  if (decoded !== undefined) return decoded;
  throw new InputError("ENCODING_SOURCE", `"${tensor}" is ${dtype}, which is not encoded`, {
    tensor,
    expected: "F32, BF16 or F16",
    found: dtype,
    help: "cast it with --dtype, or leave encodings out with --encoding none",
  });
}
