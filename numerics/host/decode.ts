import { bytesPerElement, type Dtype } from "../../src/base/dtype.ts";
import { InputError } from "../../src/base/errors.ts";
import type { WeightSource } from "../backend.ts";
import type { Values } from "./memory.ts";

type FloatDtype = "F64" | "F32" | "F16" | "BF16";

const isFloat = (dtype: Dtype): dtype is FloatDtype =>
  dtype === "F64" || dtype === "F32" || dtype === "F16" || dtype === "BF16";

const word = new Uint32Array(1);
const wordAsFloat = new Float32Array(word.buffer);

/** A bfloat16 is the upper half of a float32. */
function bfloat16(bits: number): number {
  word[0] = bits << 16;
  return wordAsFloat[0]!;
}

/** IEEE 754 binary16. */
function float16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

let halves: Float32Array | undefined;
/** Every float16 by its bits. */
export const float16s = (): Float32Array =>
  (halves ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => float16(bits)));

/** Bytes of one stored element. @throws InputError for a type that no forward pass can compute with. */
export function storedBytes(source: WeightSource): number {
  if (isFloat(source.dtype)) return bytesPerElement(source.dtype)!;
  throw new InputError("DTYPE_NOT_COMPUTABLE", `"${source.key}" has dtype ${source.dtype}, which holds no weights`, {
    tensor: source.key,
    expected: "F64, F32, F16 or BF16",
    found: source.dtype,
    help: "convert the checkpoint to a floating-point type first",
  });
}

/** Stored bytes that are read at a time. */
export const SCRATCH_BYTES = 1 << 20;
const scratch = new ArrayBuffer(SCRATCH_BYTES);

/** Reads elements [begin, begin + out.length) of a weight. */
export function decode(source: WeightSource, begin: number, out: Values): void {
  const size = storedBytes(source);
  const most = SCRATCH_BYTES / size;
  for (let done = 0; done < out.length; done += most) {
    const part = out.subarray(done, done + most);
    source.read((begin + done) * size, new Uint8Array(scratch, 0, part.length * size));
    unpack(source.dtype, part);
  }
}

/** What lies in `scratch`, as numbers. */
function unpack(dtype: Dtype, out: Values): void {
  switch (dtype) {
    case "F64":
      out.set(new Float64Array(scratch, 0, out.length));
      break;
    case "F32":
      out.set(new Float32Array(scratch, 0, out.length));
      break;
    case "BF16": {
      const raw = new Uint16Array(scratch, 0, out.length);
      for (let i = 0; i < out.length; i++) out[i] = bfloat16(raw[i]!);
      break;
    }
    default: {
      const raw = new Uint16Array(scratch, 0, out.length);
      const values = float16s();
      for (let i = 0; i < out.length; i++) out[i] = values[raw[i]!]!;
    }
  }
}
