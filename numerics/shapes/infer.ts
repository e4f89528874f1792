// Shapes of the ops in graph.ts. Every backend checks its operands here, so that a wrong shape reads the same everywhere.

import { elementCount } from "../../src/base/dtype.ts";
import { InputError } from "../../src/base/errors.ts";
import type { AttentionOptions, Node, RopeTable, Routing } from "../graph.ts";

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

export function constantShape(values: ArrayLike<number>, shape: Shape): Shape {
  if (values.length !== elementCount(shape)) throw new Error(`a constant of ${values.length} values as ${show(shape)}`);
  return [...shape];
}

export function normShape(op: string, x: Operand, ...weights: readonly Operand[]): Shape {
  const channels = x.shape.at(-1);
  for (const weight of weights) {
    if (weight.shape.length !== 1 || weight.shape[0] !== channels) mismatch(op, weight, `[${channels}]`);
  }
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

export function ropeShape(x: Operand, table: RopeTable): Shape {
  const [tokens, , channels] = rank("rope", x, 3);
  if (tokens !== table.tokens || channels! < 2 * table.pairs) {
    mismatch("rope", x, `[${table.tokens}, heads, at least ${2 * table.pairs}]`);
  }
  return x.shape;
}

export function attentionShape(
  q: Operand,
  k: Operand,
  v: Operand,
  { mask, sinks_N }: AttentionOptions<Operand>,
): Shape {
  const [tokens, heads, channels] = rank("attention", q, 3);
  const kvHeads = rank("attention", k, 3)[1]!;
  if (k.shape[0] !== tokens || k.shape[2] !== channels || heads! % kvHeads !== 0) {
    mismatch("attention", k, `keys [${tokens}, a divisor of ${heads}, ${channels}]`);
  }
  if (v.shape.length !== 3 || v.shape[0] !== tokens || v.shape[1] !== kvHeads) {
    mismatch("attention", v, `values [${tokens}, ${kvHeads}, channels]`);
  }
  if (sinks_N && (sinks_N.shape.length !== 1 || sinks_N.shape[0] !== heads)) {
    mismatch("attention", sinks_N, `sinks [${heads}]`);
  }
  if (mask.kind === "segments" && mask.lengths.reduce((sum, n) => sum + n, 0) !== tokens) {
    throw new Error(`segments of ${mask.lengths.join(" + ")} tokens do not make ${tokens}`);
  }
  return [tokens!, heads!, v.shape[2]!];
}

/** b of `mul` and `add` has a's shape but for axes of size 1 and missing leading axes, which are repeated. */
export function broadcastShape(op: string, a: Operand, b: Operand): Shape {
  const lead = a.shape.length - b.shape.length;
  if (lead < 0 || b.shape.some((n, i) => n !== 1 && n !== a.shape[lead + i])) {
    mismatch(op, b, `${show(a.shape)}, axes of size 1 or leading ones missing`);
  }
  return a.shape;
}

export function causalConvShape(x: Operand, weight: Operand): Shape {
  const [, channels] = rank("causalConv", x, 2);
  if (rank("causalConv", weight, 2)[0] !== channels) mismatch("causalConv", weight, `[${channels}, width]`);
  return x.shape;
}

export function deltaRuleShape(q: Operand, k: Operand, v: Operand, decay: Operand, beta: Operand): Shape {
  const [tokens, keyHeads] = rank("deltaRule", q, 3);
  const [, heads] = rank("deltaRule", v, 3);
  if (!sameAs(k.shape, q.shape)) mismatch("deltaRule", k, show(q.shape));
  if (v.shape[0] !== tokens || heads! % keyHeads! !== 0) {
    mismatch("deltaRule", v, `[${tokens}, a multiple of ${keyHeads}, channels]`);
  }
  for (const gate of [decay, beta])
    if (!sameAs(gate.shape, [tokens!, heads!])) mismatch("deltaRule", gate, `[${tokens}, ${heads}]`);
  return v.shape;
}

/** Shape of the result; the number of experts is the width of the logits. */
export function mixtureShape(x: Operand, { logits_TE, bias_E, router }: Routing<Operand>): Shape {
  const [tokens] = rank("mixture", x, 2);
  const [rows, experts] = rank("mixture", logits_TE, 2);
  if (rows !== tokens || experts! < router.k) {
    mismatch("mixture", logits_TE, `router logits [${tokens}, at least ${router.k}]`);
  }
  if (bias_E && !sameAs(bias_E.shape, [experts!])) mismatch("mixture", bias_E, `[${experts}]`);
  return x.shape;
}

/** What an expert gives back has the shape of what it got. */
export function expertShape(x: Operand, y: Operand): void {
  if (!sameAs(x.shape, y.shape)) mismatch("mixture", y, show(x.shape));
}

const sameAs = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((n, i) => n === b[i]);
