// Tensors for tests of the numerics: recorded ones, seeded random ones, and weights in memory.
import type { WeightSource } from "../../numerics/backend.ts";
import { type Dtype, elementCount } from "../../src/base/dtype.ts";
import { openSafetensors } from "../../src/formats/safetensors/open.ts";

export interface Tensor {
  readonly shape: readonly number[];
  readonly values: Float64Array;
}

/** A tensor of a safetensors file, F32 or F64. */
export function recorded(path: string, key: string): Tensor {
  const file = openSafetensors(path);
  try {
    const info = file.tensors.get(key);
    if (info === undefined) throw new Error(`${path} has no ${key}`);
    const bytes = new Uint8Array(info.byteLength);
    file.read(key, 0, bytes);
    const values = info.dtype === "F64" ? new Float64Array(bytes.buffer) : new Float32Array(bytes.buffer);
    return { shape: info.shape, values: Float64Array.from(values) };
  } finally {
    file.close();
  }
}

/** Standard normal values; `scale` multiplies them. */
export function randomTensor(shape: readonly number[], seed: number, scale = 1): Tensor {
  let state = seed + 1;
  const uniform = () => {
    state = (Math.imul(state, 48271) >>> 0) % 2147483647 || 1;
    return state / 2147483647;
  };
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  for (let i = 0; i < 8; i++) uniform();
  return { shape, values: Float64Array.from({ length: elementCount(shape) }, () => scale * normal()) };
}

/** The tensor as a weight whose stored bytes are those of `dtype`. */
export function asWeight({ shape, values }: Tensor, key = "w", dtype: "F64" | "F32" = "F64"): WeightSource {
  return bytesAsWeight(dtype === "F64" ? values : Float32Array.from(values), shape, dtype, key);
}

export function bytesAsWeight(
  stored: Float64Array | Float32Array | Uint16Array,
  shape: readonly number[],
  dtype: Dtype,
  key = "w",
): WeightSource {
  const bytes = new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
  return { key, dtype, shape, read: (begin, target) => target.set(bytes.subarray(begin, begin + target.length)) };
}

/** Largest |a − b| / (1 + |b|). */
export function largestError(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY;
  let error = 0;
  for (let i = 0; i < found.length; i++) {
    error = Math.max(error, Math.abs(found[i]! - expected[i]!) / (1 + Math.abs(expected[i]!)));
  }
  return error;
}
