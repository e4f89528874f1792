// Ops that move elements and compute nothing.
import { elementCount } from "../../src/base/dtype.ts";
import type { Ops } from "../graph.ts";
import { type Interpret, mismatch, type Operand, perValue, rank, type Shape } from "./call.ts";

const show = (shape: Shape): string => `[${shape.join(", ")}]`;

export function reshapeShape(x: Operand, shape: Shape): Shape {
  if (elementCount(x.shape) !== elementCount(shape)) mismatch("reshape", x, `the elements of ${show(shape)}`);
  return [...shape];
}

export function sliceShape(x: Operand, axis: number, begin: number, end: number): Shape {
  const size = x.shape[axis];
  if (size === undefined || !(0 <= begin && begin < end && end <= size)) {
    mismatch("slice", x, `indices [${begin}, ${end}) on axis ${axis}`);
  }
  return x.shape.with(axis, end - begin);
}

export function concatShape(xs: readonly Operand[], axis: number): Shape {
  const first = xs[0]!.shape;
  for (const x of xs) {
    const fits = x.shape.length === first.length && x.shape.every((n, i) => i === axis || n === first[i]);
    if (!fits || axis >= first.length) mismatch("concat", x, `${show(first)}, but for axis ${axis}`);
  }
  return first.with(
    axis,
    xs.reduce((sum, x) => sum + x.shape[axis]!, 0),
  );
}

export function permuteShape(x: Operand, order: readonly number[]): Shape {
  rank("permute", x, order.length);
  return order.map((axis) => x.shape[axis]!);
}

type Moving = "reshape" | "slice" | "concat" | "permute";

export const moving = <X extends Operand>(made: Interpret<X>): Pick<Ops<X>, Moving> => ({
  reshape: (x, shape) =>
    made({
      name: "reshape across rows",
      inputs: [x],
      params: [shape],
      shape: () => reshapeShape(x, shape),
      flops: perValue(0),
      byRow: shape[0] === x.shape[0],
      values: "input",
      again: (op, [a], rows) => op.reshape(a!, rows ? [rows.end - rows.begin, ...shape.slice(1)] : shape),
    }),
  slice: (x, axis, begin, end) =>
    made({
      name: "slice of rows",
      inputs: [x],
      params: [axis, begin, end],
      shape: () => sliceShape(x, axis, begin, end),
      flops: perValue(0),
      byRow: axis !== 0,
      values: "part",
      again: (op, [a]) => op.slice(a!, axis, begin, end),
    }),
  concat: (xs, axis) =>
    made({
      name: "concat",
      inputs: xs,
      params: [axis],
      shape: () => concatShape(xs, axis),
      flops: perValue(0),
      byRow: false,
      again: (op, all) => op.concat(all, axis),
    }),
  permute: (x, order) =>
    made({
      name: "permute",
      inputs: [x],
      params: [order],
      shape: () => permuteShape(x, order),
      flops: perValue(0),
      byRow: false,
      again: (op, [a]) => op.permute(a!, order),
    }),
});
