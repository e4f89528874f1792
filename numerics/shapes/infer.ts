// Shapes of the ops in graph.ts. Every backend checks its operands here, so that a wrong shape reads the same everywhere.
import { InputError } from "../../src/errors.ts";
import { elementCount } from "../../src/formats/dtype.ts";
import type { Node, RopeTable } from "../graph.ts";

export type Shape = readonly number[];

/** A node as an error message can name it: weights have the key of their tensor. */
export interface Operand extends Node {
  readonly key?: string | undefined;
}

const show = (shape: Shape): string => `[${shape.join(", ")}]`;

/** @throws InputError SHAPE_MISMATCH, naming the weight where the operand is one. */
function mismatch(op: string, operand: Operand, expected: string): never {
  const what = operand.key === undefined ? "an activation" : `"${operand.key}"`;
  throw new InputError("SHAPE_MISMATCH", `${op}: ${what} has shape ${show(operand.shape)}, expected ${expected}`, {
    ...(operand.key === undefined ? {} : { tensor: operand.key }),
    expected,
    found: show(operand.shape),
    help: "the config does not belong to these weights, or the tensor was converted wrongly; compare with `inspect`",
  });
}

function rank(op: string, x: Operand, dims: number): Shape {
  return x.shape.length === dims ? x.shape : mismatch(op, x, `${dims} dimensions`);
}

/** [V, D] and T ids → [T, D]. @throws InputError ID_OUT_OF_RANGE naming the first id that has no row. */
export function gatherShape(table: Operand, ids: readonly number[]): Shape {
  const [rows, dim] = rank("gather", table, 2);
  const position = ids.findIndex((id) => !(Number.isInteger(id) && id >= 0 && id < rows!));
  if (position >= 0) throw idOutOfRange(ids[position]!, position, rows!, table.key);
  return [ids.length, dim!];
}

export function idOutOfRange(id: number, position: number, rows: number, key?: string): InputError {
  return new InputError("ID_OUT_OF_RANGE", `token id ${id} at position ${position} has no row in the embedding`, {
    ...(key === undefined ? {} : { tensor: key }),
    expected: `0 … ${rows - 1}`,
    found: String(id),
    help: "use ids of this model's own tokenizer, or check that no rows of the embedding were cut off",
  });
}

export function rmsNormShape(x: Operand, weight: Operand): Shape {
  const channels = x.shape.at(-1);
  if (weight.shape.length !== 1 || weight.shape[0] !== channels) mismatch("rmsNorm", weight, `[${channels}]`);
  return x.shape;
}

export function linearShape(x: Operand, weight: Operand, bias?: Operand): Shape {
  const [tokens, inputs] = rank("linear", x, 2);
  if (weight.shape.length !== 2 || weight.shape[1] !== inputs) mismatch("linear", weight, `[outputs, ${inputs}]`);
  const outputs = weight.shape[0]!;
  if (bias !== undefined && (bias.shape.length !== 1 || bias.shape[0] !== outputs)) {
    mismatch("linear", bias, `[${outputs}]`);
  }
  return [tokens!, outputs];
}

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

export function ropeShape(x: Operand, table: RopeTable): Shape {
  const [tokens, , channels] = rank("rope", x, 3);
  if (tokens !== table.tokens || channels! < 2 * table.pairs) {
    mismatch("rope", x, `[${table.tokens}, heads, at least ${2 * table.pairs}]`);
  }
  return x.shape;
}

export function attentionShape(q: Operand, k: Operand, v: Operand): Shape {
  const [tokens, heads, channels] = rank("attention", q, 3);
  const kvHeads = rank("attention", k, 3)[1]!;
  if (k.shape[0] !== tokens || k.shape[2] !== channels || heads! % kvHeads !== 0) {
    mismatch("attention", k, `keys [${tokens}, a divisor of ${heads}, ${channels}]`);
  }
  if (v.shape.length !== 3 || v.shape[0] !== tokens || v.shape[1] !== kvHeads) {
    mismatch("attention", v, `values [${tokens}, ${kvHeads}, channels]`);
  }
  return [tokens!, heads!, v.shape[2]!];
}

/** Element-wise ops do not broadcast. */
export function sameShape(op: string, a: Operand, b: Operand): Shape {
  if (a.shape.length !== b.shape.length || a.shape.some((n, i) => n !== b.shape[i])) mismatch(op, b, show(a.shape));
  return a.shape;
}
