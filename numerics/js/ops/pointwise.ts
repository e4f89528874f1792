// Functions of one value, and of two, in f64 arithmetic whatever the arrays hold.
import { elementCount } from "../../../src/base/dtype.ts";
import type { Ops, Pointwise } from "../../graph.ts";
import { broadcastShape } from "../../ops/pointwise.ts";
import { broadcastStrides, offsetOfRow } from "../../ops/strides.ts";
import type { Values } from "../memory.ts";
import type { JsNode } from "../node.ts";
import type { Recording } from "../recording.ts";
import { erf } from "./erf.ts";

const POINTWISE: Readonly<Record<Pointwise, (x: number) => number>> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  exp: Math.exp,
  /** torch gives x itself above its threshold of 20. */
  softplus: (x) => (x > 20 ? x : Math.log1p(Math.exp(x))),
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  geluTanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

export function map(f: Pointwise, x: Values, out: Values): void {
  const apply = POINTWISE[f];
  for (let i = 0; i < x.length; i++) out[i] = apply(x[i]!);
}

function affine(x: Values, factor: number, offset: number, out: Values): void {
  for (let i = 0; i < x.length; i++) out[i] = factor * x[i]! + offset;
}

/** NaN stays NaN. */
function clamp(x: Values, low: number, high: number, out: Values): void {
  for (let i = 0; i < x.length; i++) out[i] = Math.min(Math.max(x[i]!, low), high);
}

/** a · b or a + b. */
export function zip(kind: "mul" | "add", a: Values, b: Values, out: Values): void {
  if (kind === "mul") for (let i = 0; i < out.length; i++) out[i] = a[i]! * b[i]!;
  else for (let i = 0; i < out.length; i++) out[i] = a[i]! + b[i]!;
}

/** a · b or a + b, b repeated. */
function combine(
  kind: "mul" | "add",
  a: Values,
  b: Values,
  { shape, strides }: { readonly shape: readonly number[]; readonly strides: readonly number[] },
  out: Values,
): void {
  const width = shape.at(-1) ?? 1;
  const step = strides.at(-1) ?? 0;
  for (let row = 0, i = 0; i < out.length; row++) {
    let j = offsetOfRow(row, shape, strides);
    const end = i + width;
    if (kind === "mul") for (; i < end; i++, j += step) out[i] = a[i]! * b[j]!;
    else for (; i < end; i++, j += step) out[i] = a[i]! + b[j]!;
  }
}

export function pointwise<V extends Values>(
  backend: Recording<V>,
): Pick<Ops<JsNode<V>>, "map" | "affine" | "clamp" | "mul" | "add"> {
  const values = (x: JsNode<V>) => backend.values(x);
  const binary = (kind: "mul" | "add", a: JsNode<V>, b: JsNode<V>) => {
    const shape = broadcastShape(kind, a, b);
    if (elementCount(b.shape) === elementCount(shape)) {
      return backend.record(shape, [a, b], (out) => backend.arithmetic.combine(kind, values(a), values(b), out));
    }
    const layout = { shape, strides: broadcastStrides(shape, b.shape) };
    return backend.record(shape, [a, b], (out) => combine(kind, values(a), values(b), layout, out));
  };
  return {
    map: (f, x) => backend.record(x.shape, [x], (out) => backend.arithmetic.map(f, values(x), out)),
    affine: (x, factor, offset = 0) => backend.record(x.shape, [x], (out) => affine(values(x), factor, offset, out)),
    clamp: (x, low, high) => backend.record(x.shape, [x], (out) => clamp(values(x), low, high, out)),
    mul: (a, b) => binary("mul", a, b),
    add: (a, b) => binary("add", a, b),
  };
}
