// What a conversion can do to the values of a tensor, on plain arrays: nothing here is shared with what recognises it.
import { elementCount } from "../../src/base/dtype.ts";
import { type Float, isFloat } from "../../src/base/floats.ts";
import { bytesOf, edited } from "../../src/faults/edit.ts";
import type { Sample } from "../../src/faults/fault.ts";
import { cast } from "../../src/views/cast.ts";
import { tensorInfo } from "../../src/views/tensor-source.ts";

export interface Tensor {
  readonly shape: readonly number[];
  readonly values: Float64Array;
}

export type Change = (tensor: Tensor) => Float64Array;

export function tensorOf({ source }: Sample, key: string): Tensor & { readonly dtype: Float } {
  const { dtype, shape } = source.tensors.get(key)!;
  if (!isFloat(dtype)) throw new Error(`${key} is ${dtype}`);
  return { dtype, shape, values: new Float64Array(cast(bytesOf(source, key), dtype, "F64").buffer) };
}

/** The sample with other values in a tensor, in its type or in another. */
export function changed(sample: Sample, key: string, change: Change, type?: Float): Sample {
  const { dtype, ...tensor } = tensorOf(sample, key);
  const to = type ?? dtype;
  const bytes = cast(new Uint8Array(Float64Array.from(change(tensor)).buffer), "F64", to);
  return { ...sample, source: edited(sample.source, { [key]: { bytes, info: tensorInfo(key, to, tensor.shape) } }) };
}

/** Each after the one before. */
export const all =
  (...changes: readonly Change[]): Change =>
  ({ shape, values }) =>
    changes.reduce((made, change) => change({ shape, values: made }), values);

/** Read as `axes`, with the index of one of them taken from elsewhere; `where` says for which outer indices. */
export const taken =
  (axes: readonly number[], axis: number, from: (i: number) => number, where = (_outer: number) => true): Change =>
  ({ values }) => {
    if (elementCount(axes) !== values.length) throw new Error(`${axes} are not ${values.length}`);
    const size = axes[axis]!;
    const inner = elementCount(axes.slice(axis + 1));
    return values.map((_, at) => {
      const index = Math.floor(at / inner) % size;
      const outer = Math.floor(at / (inner * size));
      return values[where(outer) ? at + (from(index) - index) * inner : at]!;
    });
  };

/** Read as `axes`, in another order of them: axis i of what comes out is axis `order[i]`. */
export const permuted =
  (axes: readonly number[], order: readonly number[]): Change =>
  ({ values }) => {
    if (elementCount(axes) !== values.length) throw new Error(`${axes} are not ${values.length}`);
    const strides = axes.map((_, i) => elementCount(axes.slice(i + 1)));
    const sizes = order.map((i) => axes[i]!);
    return values.map((_, at) => {
      let [rest, from] = [at, 0];
      for (let i = sizes.length - 1; i >= 0; i--) {
        from += (rest % sizes[i]!) * strides[order[i]!]!;
        rest = Math.floor(rest / sizes[i]!);
      }
      return values[from]!;
    });
  };

export const each =
  (value: (x: number, i: number) => number): Change =>
  ({ values }) =>
    values.map(value);

/** In [begin, end) of the indices of the first axis. */
export const inRows =
  (begin: number, end: number, change: Change): Change =>
  (tensor) => {
    const made = change(tensor);
    const width = tensor.values.length / tensor.shape[0]!;
    return tensor.values.map((x, i) => (i >= begin * width && i < end * width ? made[i]! : x));
  };

/** As a cast to that type leaves it. */
export const through =
  (type: Float): Change =>
  ({ values }) =>
    new Float64Array(cast(cast(new Uint8Array(Float64Array.from(values).buffer), "F64", type), type, "F64").buffer);

/** Evenly spread over (0, 1). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return (state + 0.5) / 2 ** 32;
  };
}

export function noise(size: number, seed = 7): Change {
  const next = random(seed);
  const normal = () => Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next());
  return each((x) => x + size * Math.abs(x) * normal());
}

/** Any order of `count` indices. */
export function shuffled(count: number, seed = 5): number[] {
  const next = random(seed);
  return Array.from({ length: count }, (_, i) => [next(), i] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, i]) => i);
}

export const halvesToPairs = (size: number) => (i: number) => (i % 2) * (size / 2) + Math.floor(i / 2);
export const pairsToHalves = (size: number) => (i: number) => 2 * (i % (size / 2)) + Math.floor(i / (size / 2));
