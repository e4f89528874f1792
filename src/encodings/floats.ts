// f32 values to and from the bits of the types that weights are decoded to.
import { InputError } from "../errors.ts";
import type { Dtype } from "../formats/dtype.ts";

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

const word = new Float32Array(1);
const wordBits = new Uint32Array(word.buffer);

/** To nearest, ties to even; NaN becomes 0x7FC0, as torch's scalar code has it. */
function bfloat16(value: number): number {
  word[0] = value;
  const bits = wordBits[0]!;
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** To nearest, ties to even. */
function float16(value: number): number {
  word[0] = value;
  const sign = (wordBits[0]! >>> 16) & 0x8000;
  if (Number.isNaN(value)) return sign | 0x7e00;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  // Below 2⁻¹⁴ values are multiples of 2⁻²⁴; adding 2^(e+13) leaves 11 significant bits, rounded as f64 rounds.
  if (size < 2 ** -14) return sign | nearestEven(size * 2 ** 24);
  const exponent = Math.floor(Math.log2(Math.fround(size)));
  const e = 2 ** exponent > size ? exponent - 1 : 2 ** (exponent + 1) <= size ? exponent + 1 : exponent;
  return sign | (((e + 15) << 10) + nearestEven((size / 2 ** e - 1) * 1024));
}

function nearestEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
}

/** Writes values at element `at` of little-endian bytes. */
export function storeFloats(dtype: Decoded, values: Float32Array, target: Uint8Array, at: number): void {
  const size = BYTES[dtype];
  const view = new DataView(target.buffer, target.byteOffset + at * size, values.length * size);
  switch (dtype) {
    case "F32":
      for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i]!, true);
      break;
    case "BF16":
      for (let i = 0; i < values.length; i++) view.setUint16(2 * i, bfloat16(values[i]!), true);
      break;
    case "F16":
      for (let i = 0; i < values.length; i++) view.setUint16(2 * i, float16(values[i]!), true);
      break;
    default:
      throw dtype satisfies never;
  }
}

/** Little-endian bytes as f32 values. Throws InputError ENCODING_SOURCE for a type that cannot be encoded. */
export function loadFloats(dtype: Dtype, key: string, bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  switch (dtype) {
    case "F32":
      return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
    case "BF16": {
      const out = new Float32Array(bytes.length / 2);
      const bits = new Uint32Array(out.buffer);
      for (let i = 0; i < out.length; i++) bits[i] = view.getUint16(2 * i, true) << 16;
      return out;
    }
    case "F16":
      return Float32Array.from({ length: bytes.length / 2 }, (_, i) => halfValue(view.getUint16(2 * i, true)));
    default:
      throw new InputError("ENCODING_SOURCE", `"${key}" is ${dtype}, which is not encoded`, {
        tensor: key,
        expected: "F32, BF16 or F16",
        found: dtype,
        help: "cast it with --dtype, or leave encodings out with --encoding none",
      });
  }
}

function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}
