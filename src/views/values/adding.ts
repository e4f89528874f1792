// Tensors with something added to each value: a norm's weight around 0 on one side, around 1 on the other.
import type { Dtype } from "../../base/dtype.ts";
import { bfloatToSingle, FLOAT_BYTES, halfToSingle, isFloat, singleToBfloat, singleToHalf } from "../../base/floats.ts";
import type { TensorSource } from "../tensor-source.ts";

/** Values at once. */
const BATCH = 4096;

/** The tensors of `source`, with an amount added to each value of some, rounded once to their type, as torch does it. */
export function addingTo(source: TensorSource, amounts: ReadonlyMap<string, number>): TensorSource {
  if (amounts.size === 0) return source;
  const { unrounded } = source;
  return {
    tensors: source.tensors,
    read(key, begin, target) {
      const amount = amounts.get(key);
      if (amount === undefined) source.read(key, begin, target);
      else read(source, key, begin, target, amount);
    },
    ...(unrounded && { unrounded: (keys) => addingTo(unrounded(keys), amounts) }),
  };
}

function read(source: TensorSource, key: string, begin: number, target: Uint8Array, amount: number): void {
  const { dtype } = source.tensors.get(key)!;
  if (!isFloat(dtype)) throw new RangeError(`${key}: nothing is added to ${dtype}`);
  const width = FLOAT_BYTES[dtype];
  if (begin % width !== 0 || target.length % width !== 0) throw new RangeError(`${key}: range cuts an element`);
  const bytes = new Uint8Array(Math.min(target.length, BATCH * width));
  for (let at = 0; at < target.length; at += bytes.length) {
    const part = bytes.subarray(0, Math.min(bytes.length, target.length - at));
    source.read(key, begin + at, part);
    add(part, dtype, amount);
    target.set(part, at);
  }
}

/** A narrow type's sum is rounded to F32 first, as torch rounds it: that has twice its digits, so nothing moves twice. */
function add(bytes: Uint8Array, dtype: Dtype, amount: number): void {
  const { buffer, byteLength } = bytes;
  if (dtype === "F64") {
    const values = new Float64Array(buffer, 0, byteLength / 8);
    for (let i = 0; i < values.length; i += 1) values[i]! += amount;
    return;
  }
  const values = dtype === "F32" ? new Float32Array(buffer, 0, byteLength / 4) : new Float32Array(byteLength / 2);
  const bits = new Uint32Array(values.buffer, 0, values.length);
  const halves = new Uint16Array(buffer, 0, byteLength / 2);
  if (dtype === "BF16") bfloatToSingle(halves, bits, values.length);
  else if (dtype === "F16") halfToSingle(halves, bits, values.length);
  for (let i = 0; i < values.length; i += 1) values[i]! += amount;
  if (dtype === "BF16") singleToBfloat(bits, halves, values.length);
  else if (dtype === "F16") singleToHalf(bits, halves, values.length);
}
