// What is known of an op without running it. Every interpreter reads this: backends check their operands by it, so that a
// wrong shape reads the same everywhere; plans count by it; the end of a forward pass runs in blocks of rows by it.
import { elementCount } from "../../src/base/dtype.ts";
import { InputError } from "../../src/base/errors.ts";
import type { Node, Ops } from "../graph.ts";

export type Shape = readonly number[];

/** A node as an error message can name it: weights have the key of their tensor. */
export interface Operand extends Node {
  readonly key?: string | undefined;
}

/** Positions [begin, end). */
export interface Rows {
  readonly begin: number;
  readonly end: number;
}

/** An op and what it is called with. */
export interface Call<X extends Operand> {
  /** For messages. */
  readonly name: string;
  /** The nodes among the arguments; those that may be left out come last. */
  readonly inputs: readonly X[];
  /** All other arguments: two calls of one name with equal ones on equal inputs give equal results. */
  readonly params: readonly unknown[];
  /** Of the result. @throws InputError SHAPE_MISMATCH, naming the weight where the operand is one; ID_OUT_OF_RANGE */
  shape(): Shape;
  /** Multiplications and additions for a result of this shape, an exponential counting as one. */
  flops(shape: Shape): number;
  /** Whether a row of the result follows from the same row of its inputs, weights aside. */
  readonly byRow: boolean;
  /** Values that are no new ones: those of its only input, or a part of them where that is a weight. */
  readonly values?: "input" | "part";
  /** The same op on these nodes instead: all of `inputs`, or their rows. */
  again<N extends Node>(op: Ops<N>, inputs: readonly N[], rows?: Rows): N;
}

/** What an interpreter makes of a call. */
export type Interpret<X extends Operand> = (call: Call<X>) => X;

const show = (shape: Shape): string => `[${shape.join(", ")}]`;

/** @throws InputError SHAPE_MISMATCH, naming the weight where the operand is one. */
export function mismatch(op: string, operand: Operand, expected: string): never {
  const what = operand.key === undefined ? "an activation" : `"${operand.key}"`;
  throw new InputError("SHAPE_MISMATCH", `${op}: ${what} has shape ${show(operand.shape)}, expected ${expected}`, {
    ...(operand.key === undefined ? {} : { tensor: operand.key }),
    expected,
    found: show(operand.shape),
    help: "the config does not belong to these weights, or the tensor was converted wrongly; compare with `inspect`",
  });
}

export function rank(op: string, x: Operand, dims: number): Shape {
  return x.shape.length === dims ? x.shape : mismatch(op, x, `${dims} dimensions`);
}

/** Throws SHAPE_MISMATCH unless `x` has this shape. */
export function sameAs(op: string, x: Operand, shape: Shape): void {
  if (x.shape.length !== shape.length || x.shape.some((n, i) => n !== shape[i])) mismatch(op, x, show(shape));
}

export const perValue =
  (flops: number) =>
  (shape: Shape): number =>
    flops * elementCount(shape);

/** Those that are given, in their order. */
export const given = <X>(...operands: readonly (X | null | undefined)[]): X[] =>
  operands.filter((operand): operand is X => operand !== null && operand !== undefined);
