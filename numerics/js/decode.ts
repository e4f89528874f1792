import { InputError } from "../../src/base/errors.ts";
import { FLOAT_BYTES, type Float, isFloat, valuesFromBits } from "../../src/base/floats.ts";
import type { WeightSource } from "../backend.ts";
import type { Values } from "./memory.ts";

/** What the elements of a weight are stored as. @throws InputError for a type that no forward pass can compute with. */
export function storedAs(source: WeightSource): Float {
  if (isFloat(source.dtype)) return source.dtype;
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
  const dtype = storedAs(source);
  const size = FLOAT_BYTES[dtype];
  const most = SCRATCH_BYTES / size;
  for (let done = 0; done < out.length; done += most) {
    const part = out.subarray(done, done + most);
    source.read((begin + done) * size, new Uint8Array(scratch, 0, part.length * size));
    unpack(dtype, part);
  }
}

/** What lies in `scratch`, as numbers. */
function unpack(dtype: Float, out: Values): void {
  if (dtype === "F64") out.set(new Float64Array(scratch, 0, out.length));
  else if (dtype === "F32") out.set(new Float32Array(scratch, 0, out.length));
  else valuesFromBits(dtype, new Uint16Array(scratch, 0, out.length), out);
}
