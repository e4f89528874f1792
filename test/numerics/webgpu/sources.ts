// Seeded values and weights in memory.
import type { WeightSource } from "../../../numerics/backend.ts";
import { bytesPerElement, type Dtype, elementCount } from "../../../src/formats/dtype.ts";

/** Approximately normal values, the same for the same seed; one in `outlierEvery` is 100 times as large. */
export function normal(count: number, seed: number, outlierEvery = 0): Float32Array {
  let state = seed >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Float32Array.from({ length: count }, (_, i) => {
    const value = (uniform() + uniform() + uniform() + uniform() - 2) * Math.sqrt(3);
    return outlierEvery > 0 && i % outlierEvery === 0 ? 100 * value : value;
  });
}

/** f32 rounded to the nearest bf16, ties to even. */
export function toBf16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(bits, (u) => (u + 0x7fff + ((u >>> 16) & 1)) >>> 16);
}

export function fromBf16(bits: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(bits, (u) => u << 16).buffer);
}

export interface MemorySource extends WeightSource {
  /** Bytes read so far. */
  readonly bytesRead: () => number;
}

export function memorySource(
  key: string,
  dtype: Dtype,
  shape: readonly number[],
  values: Float32Array | Float64Array | Uint16Array,
): MemorySource {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  if (bytes.length !== elementCount(shape) * bytesPerElement(dtype)!) throw new Error(`${key}: wrong number of bytes`);
  let read = 0;
  return {
    key,
    dtype,
    shape,
    bytesRead: () => read,
    read(begin, target) {
      if (begin + target.length > bytes.length) throw new Error(`${key}: read beyond the end`);
      target.set(bytes.subarray(begin, begin + target.length));
      read += target.length;
    },
  };
}
