// One graph on two backends, and seeded weights in memory.
import type { Backend, WeightSource } from "../../numerics/backend.ts";
import { CpuBackend } from "../../numerics/cpu/backend.ts";
import type { Node, Ops } from "../../numerics/graph.ts";
import { elementCount } from "../../src/base/dtype.ts";
import { bytesAsWeight } from "../helpers/tensors.ts";

export type Graph = <N extends Node>(op: Ops<N>, put: (weight: WeightSource) => N) => N;

export async function values<N extends Node>(backend: Backend<N>, graph: Graph): Promise<Float32Array | Float64Array> {
  const node = graph(backend.ops, (weight) => backend.weight(weight));
  await backend.evaluate([node]);
  return backend.readback(node);
}

/** √(Σ (x − r)² / Σ r²), r being what the f64 reference makes of the same stored weights. */
export async function errorOf<N extends Node>(backend: Backend<N>, graph: Graph): Promise<number> {
  const [found, expected] = [await values(backend, graph), await values(new CpuBackend(), graph)];
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY;
  let [difference, size] = [0, 0];
  for (const [i, r] of expected.entries()) {
    difference += (found[i]! - r) ** 2;
    size += r ** 2;
  }
  return Math.sqrt(difference / size);
}

/** The same weight, and the ranges [begin, length] of bytes that were read of it so far. */
export function watched(weight: WeightSource): { readonly source: WeightSource; readonly reads: [number, number][] } {
  const reads: [number, number][] = [];
  const read: WeightSource["read"] = (begin, target) => {
    reads.push([begin, target.length]);
    weight.read(begin, target);
  };
  return { source: { ...weight, read }, reads };
}

/** A weight of which only the beginning can be read. */
export const broken = (weight: WeightSource): WeightSource => ({
  ...weight,
  read(begin, target) {
    if (begin > 0) throw new Error("the disk is gone");
    weight.read(begin, target);
  },
});

/** Nearly normal values, the same for the same seed; one in `outlierEvery` is 100 times as large. */
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
export function toBf16(floats: Float32Array): Uint16Array {
  const bits = new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
  return Uint16Array.from(bits, (u) => (u + 0x7fff + ((u >>> 16) & 1)) >>> 16);
}

/** A random weight of some dtype with outliers. */
export function weight(shape: readonly number[], seed: number, dtype: "F32" | "BF16" = "F32", key = "w"): WeightSource {
  const floats = normal(elementCount(shape), seed, 89);
  return bytesAsWeight(dtype === "F32" ? floats : toBf16(floats), shape, dtype, key);
}
