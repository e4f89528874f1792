// Edits that undo a fault: the rows, columns or axes of one tensor in another order, another tensor's values, other numbers.
import { elementCount } from "../../base/dtype.ts";
import { isFloat } from "../../base/floats.ts";
import type { TensorInfo } from "../../formats/checkpoint.ts";
import { bytesOf, recalculated } from "../edit.ts";
import type { Sample } from "../fault.ts";
import { along, type Order } from "../kinds/axes.ts";
import type { Edit, Place } from "./undoing.ts";

export type { Order };

/** Index i of the axis becomes index `from(i)` of it. */
export const ordered =
  (axis: number, from: Order): Edit =>
  (source, key) =>
    along(source, key, { axis }, from);

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
    const strides = shape.map((_, axis) => elementCount(shape.slice(axis + 1)));
    const result = new Uint8Array(bytes.length);
    let at = 0;
    const walk = (depth: number, from: number): void => {
      if (depth === order.length) {
        result.set(bytes.subarray(from * size, (from + 1) * size), at++ * size);
        return;
      }
      const axis = order[depth]!;
      for (let i = 0; i < shape[axis]!; i++) walk(depth + 1, from + i * strides[axis]!);
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
export const listed = (list: readonly number[]): Order => (index) => list[index] ?? index;

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
  list.length <= 1 ? [[...list]] : list.flatMap((first) => permutationsOf(list.filter((x) => x !== first)).map((rest) => [first, ...rest]));

export const isIdentity = (list: readonly number[]): boolean => list.every((from, i) => from === i);
