// Edits that undo a fault: the rows, columns or axes of one tensor in another order, another tensor's values, other numbers.
import { elementCount } from "../../base/dtype.ts";
import { isFloat } from "../../base/floats.ts";
import type { TensorInfo } from "../../formats/checkpoint.ts";
import { bytesOf, recalculated } from "../edit.ts";
import type { Sample } from "../fault.ts";
import type { Order } from "../kinds/axes.ts";
import type { Edit, Place } from "./undoing.ts";

export type { Order };

/** The bytes as whole elements: of 1, 2, 4 or 8 bytes. */
function elementsOf(bytes: Uint8Array, size: number): Uint8Array | Uint16Array | Uint32Array | BigUint64Array {
  const { buffer, byteOffset } = bytes;
  switch (size) {
    case 8:
      return new BigUint64Array(buffer, byteOffset, bytes.length / 8);
    case 4:
      return new Uint32Array(buffer, byteOffset, bytes.length / 4);
    case 2:
      return new Uint16Array(buffer, byteOffset, bytes.length / 2);
    default:
      return bytes;
  }
}

/** Index i of the axis becomes index `from(i)` of it. */
export const ordered =
  (axis: number, from: Order): Edit =>
  (source, key) => {
    const { shape } = source.tensors.get(key)!;
    const bytes = bytesOf(source, key);
    const [outer, count] = [elementCount(shape.slice(0, axis)), shape[axis]!];
    const size = bytes.length / (outer * count);
    const result = new Uint8Array(bytes.length);
    // Long runs are copied as bytes, single elements as numbers.
    const isLong = size > 8 || ![1, 2, 4, 8].includes(size);
    const [old, made] = isLong ? [bytes, result] : [elementsOf(bytes, size), elementsOf(result, size)];
    for (let at = 0; at < outer; at++) {
      for (let index = 0; index < count; index++) {
        const begin = at * count + from(index, at);
        if (isLong) result.set(bytes.subarray(begin * size, (begin + 1) * size), (at * count + index) * size);
        else made[at * count + index] = old[begin]!;
      }
    }
    return result;
  };

/** The values of another tensor of the same shape. */
export const holding =
  (other: string): Edit =>
  (source) =>
    bytesOf(source, other);

export const valued =
  (value: (x: number) => number): Edit =>
  (source, key) =>
    recalculated(source, key, value);

/** The tensor read as `shape`, with its axes in the order given. */
export const permuted =
  (shape: readonly number[], order: readonly number[]): Edit =>
  (source, key) => {
    const bytes = bytesOf(source, key);
    const size = bytes.length / elementCount(shape);
    const result = new Uint8Array(bytes.length);
    const [old, made] = [elementsOf(bytes, size), elementsOf(result, size)];
    const sizes = order.map((axis) => shape[axis]!);
    const strides = order.map((axis) => elementCount(shape.slice(axis + 1)));
    let at = 0;
    const walk = (depth: number, from: number): void => {
      const [count, stride] = [sizes[depth]!, strides[depth]!];
      if (depth < order.length - 1) for (let i = 0; i < count; i++) walk(depth + 1, from + i * stride);
      else for (let i = 0; i < count; i++) made[at++] = old[from + i * stride]!;
    };
    walk(0, 0);
    return result;
  };

/** Blocks of `size` indices in another order; what follows the last whole one stays. */
export const inBlocks =
  (size: number, from: (block: number) => number): Order =>
  (index) =>
    from(Math.floor(index / size)) * size + (index % size);

/** Parts of these sizes stand in the order `as`; the result has them as 0, 1, 2. */
export function partsFrom(sizes: readonly number[], as: readonly number[]): Order {
  const starts = new Array<number>(sizes.length).fill(0);
  let at = 0;
  for (const part of as) {
    starts[part] = at;
    at += sizes[part]!;
  }
  const map = sizes.flatMap((size, part) => Array.from({ length: size }, (_, i) => starts[part]! + i));
  return (index) => map[index] ?? index;
}

/** `order` within every group of so many indices. */
export const within =
  (group: number, order: Order): Order =>
  (index, outer) =>
    index - (index % group) + order(index % group, outer);

/** From index to its place, as a list of where each comes from. */
export const listed =
  (list: readonly number[]): Order =>
  (index) =>
    list[index] ?? index;

export const inverse = (list: readonly number[]): number[] => {
  const result = new Array<number>(list.length).fill(0);
  for (const [i, from] of list.entries()) result[from] = i;
  return result;
};

/** [a, b] read as [b, a]: index (i, j) comes from (j, i). */
export const exchanged =
  (a: number, b: number): Order =>
  (index) => {
    const [i, j] = [Math.floor(index / b), index % b];
    return index >= a * b ? index : j * a + i;
  };

export const place = (how: string, edits: Readonly<Record<string, Edit>>): Place => ({
  how,
  edits: new Map(Object.entries(edits)),
});

/** Floating-point tensors that `isSo`. */
export const tensorsWhere = ({ source }: Sample, isSo: (info: TensorInfo) => boolean): TensorInfo[] =>
  [...source.tensors.values()].filter((info) => isFloat(info.dtype) && isSo(info));

export const permutationsOf = (list: readonly number[]): number[][] =>
  list.length <= 1
    ? [[...list]]
    : list.flatMap((first) => permutationsOf(list.filter((x) => x !== first)).map((rest) => [first, ...rest]));

export const isIdentity = (list: readonly number[]): boolean => list.every((from, i) => from === i);

/** Orders that change something, each under its first name: of few things, many are one. */
export function distinct(orders: readonly (readonly [string, readonly number[]])[]): Record<string, readonly number[]> {
  const seen = new Set<string>();
  const kept = orders.filter(([, list]) => {
    const isNew = list.length > 1 && !isIdentity(list) && !seen.has(`${list}`);
    seen.add(`${list}`);
    return isNew;
  });
  return Object.fromEntries(kept);
}
