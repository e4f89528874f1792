// f32 values to and from the bits of the types that weights are decoded to.

import type { Dtype } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";

/** Types that decoded weights can have. */
export type Decoded = "F32" | "BF16" | "F16";

const BYTES: Readonly<Record<Decoded, number>> = { F32: 4, BF16: 2, F16: 2 };
export const bytesOf = (dtype: Decoded): number => BYTES[dtype];

/** The type that a config declares for weights (`bfloat16`), BF16 where it is silent. Throws InputError DTYPE_UNKNOWN. */
export function decodedDtype(declared: unknown, where: string): Decoded {
  const names: Readonly<Record<string, Decoded>> = { float32: "F32", bfloat16: "BF16", float16: "F16" };
  if (declared === undefined || declared === null) return "BF16";
  const dtype = typeof declared === "string" ? names[declared.replace(/^torch\./, "")] : undefined;
  if (dtype !== undefined) return dtype;
  throw new InputError("DTYPE_UNKNOWN", `${where}: decoded weights cannot have the dtype that it declares`, {
    file: where,
    expected: Object.keys(names).join(", "),
    found: JSON.stringify(declared),
    help: "set dtype in the config to one of these",
  });
}

/** f32 bits to the nearest BF16, ties to even; a NaN becomes 0x7FC0 and keeps its sign. */
const bfloat16 = (bits: number): number =>
  (bits & 0x7fffffff) > 0x7f800000
    ? ((bits >>> 16) & 0x8000) | 0x7fc0
    : ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;

/** f32 bits to the nearest F16, ties to even; a NaN becomes 0x7E00 and keeps its sign. */
function float16(bits: number, value: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const size = bits & 0x7fffffff;
  if (size > 0x7f800000) return sign | 0x7e00;
  if (size >= 0x47800000) return sign | 0x7c00;
  if (size >= 0x38800000) return sign | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13);
  // Multiples of 2⁻²⁴; for 0 ≤ x < 2⁵¹ adding 2⁵² rounds to even.
  return sign | (Math.abs(value) * 2 ** 24 + 2 ** 52 - 2 ** 52);
}

/** Replaces values by what they are once they are stored as `dtype`. */
export function roundFloats(dtype: Decoded, values: Float32Array): void {
  if (dtype === "F32") return;
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  if (dtype === "BF16") for (let i = 0; i < bits.length; i++) bits[i] = bfloat16(bits[i]!) << 16;
  else for (let i = 0; i < bits.length; i++) values[i] = halfValue(float16(bits[i]!, values[i]!));
}

/** Writes values at element `at` of little-endian bytes. */
export function storeFloats(dtype: Decoded, values: Float32Array, target: Uint8Array, at: number): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const words = dtype === "F32" ? bits : new Uint16Array(values.length);
  switch (dtype) {
    case "F32":
      break;
    case "BF16":
      for (let i = 0; i < words.length; i++) words[i] = bfloat16(bits[i]!);
      break;
    case "F16":
      for (let i = 0; i < words.length; i++) words[i] = float16(bits[i]!, values[i]!);
      break;
    default:
      throw dtype satisfies never;
  }
  target.set(new Uint8Array(words.buffer, words.byteOffset, words.byteLength), at * BYTES[dtype]);
}

/** Little-endian bytes, in a buffer of their own, as f32 values. */
export function loadFloats(dtype: Decoded, bytes: Uint8Array): Float32Array {
  if (dtype === "F32") return new Float32Array(bytes.buffer);
  const words = new Uint16Array(bytes.buffer);
  const out = new Float32Array(words.length);
  const bits = new Uint32Array(out.buffer);
  if (dtype === "BF16") for (let i = 0; i < words.length; i++) bits[i] = words[i]! << 16;
  else for (let i = 0; i < words.length; i++) out[i] = halfValue(words[i]!);
  return out;
}

/** The type of values that can be encoded. Throws InputError ENCODING_SOURCE for any other. */
export function encodable(dtype: Dtype, tensor: string): Decoded {
  if (dtype === "F32" || dtype === "BF16" || dtype === "F16") return dtype;
  throw new InputError("ENCODING_SOURCE", `"${tensor}" is ${dtype}, which is not encoded`, {
    tensor,
    expected: "F32, BF16 or F16",
    found: dtype,
    help: "cast it with --dtype, or leave encodings out with --encoding none",
  });
}

function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}
