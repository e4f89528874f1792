// Bytes of a tensor with indices of one of its axes in another order, or its matrices turned.
import { elementCount } from "../../base/dtype.ts";
import type { TensorSource } from "../../views/tensor-source.ts";
import { bytesOf } from "../edit.ts";

/** Which index each index of an axis comes from; `outer` counts what lies before the axis: experts, heads, rows. */
export type Order = (index: number, outer: number) => number;

export interface Axis {
  /** The tensor's shape unless given: a finer one cuts an axis into several, `[heads, head, columns]`. */
  readonly shape?: readonly number[];
  readonly axis: number;
}

/** Bytes with one axis in another order. */
export function along(source: TensorSource, key: string, { shape: finer, axis }: Axis, order: Order): Uint8Array {
  const shape = finer ?? source.tensors.get(key)!.shape;
  const bytes = bytesOf(source, key);
  const [outer, count] = [elementCount(shape.slice(0, axis)), shape[axis]!];
  const size = bytes.length / (outer * count);
  const result = new Uint8Array(bytes.length);
  for (let at = 0; at < outer; at++) {
    for (let index = 0; index < count; index++) {
      const from = (at * count + order(index, at)) * size;
      result.set(bytes.subarray(from, from + size), (at * count + index) * size);
    }
  }
  return result;
}

/** Bytes with two neighbouring axes of `shape` exchanged: `[…, m, n, …]` becomes `[…, n, m, …]`, read as the shape it had. */
export function turned(source: TensorSource, key: string, { shape: finer, axis }: Axis, isTurned = always): Uint8Array {
  const shape = finer ?? source.tensors.get(key)!.shape;
  const bytes = bytesOf(source, key);
  const [outer, m, n] = [elementCount(shape.slice(0, axis)), shape[axis]!, shape[axis + 1]!];
  const size = bytes.length / (outer * m * n);
  const result = Uint8Array.from(bytes);
  for (let at = 0; at < outer; at++) {
    if (!isTurned(at)) continue;
    const begin = at * m * n;
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        const from = (begin + i * n + j) * size;
        result.set(bytes.subarray(from, from + size), (begin + j * m + i) * size);
      }
    }
  }
  return result;
}

const always = (_outer: number): boolean => true;

/** Which part each comes from where numbers are sorted as text: 0, 1, 10, 11, 2. */
export function textOrder(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index).sort((a, b) => (`${a}` < `${b}` ? -1 : 1));
}

/** Which row each row comes from where halves (x₁ … x₁' …) become adjacent pairs (x₁ x₁' …) in every head. */
export const toPairs =
  (head: number) =>
  (row: number): number => {
    const within = row % head;
    return row - within + (head / 2) * (within % 2) + Math.floor(within / 2);
  };

/** The way back: adjacent pairs become halves. */
export const toHalves =
  (head: number) =>
  (row: number): number => {
    const within = row % head;
    return row - within + 2 * (within % (head / 2)) + Math.floor(within / (head / 2));
  };

/** The order in which each comes from the one before, the first from the last. */
export const rolled =
  (count: number, by = 1): Order =>
  (index) =>
    (index - by + count) % count;

export const reversed =
  (count: number): Order =>
  (index) =>
    count - 1 - index;

/** Two exchanged, all others where they were. */
export const exchanged =
  (first: number, second: number): Order =>
  (index) =>
    index === first ? second : index === second ? first : index;

/** The order within one of the outer indices alone. */
export const only =
  (at: number, order: Order): Order =>
  (index, outer) =>
    outer === at ? order(index, outer) : index;

/** Two axes of `[a, b]` within one axis: what stood at (i, j) stands at (j, i). */
export const regrouped =
  (a: number, b: number): Order =>
  (index) => {
    const [j, i] = [Math.floor(index / a), index % a];
    return i * b + j;
  };

/** Parts of these sizes in another order: part `order[0]` comes first. */
export function parts(sizes: readonly number[], order: readonly number[]): Order {
  const begins = sizes.map((_, part) => sizes.slice(0, part).reduce((sum, size) => sum + size, 0));
  const from = order.flatMap((part) => Array.from({ length: sizes[part]! }, (_, i) => begins[part]! + i));
  return (index) => from[index]!;
}
