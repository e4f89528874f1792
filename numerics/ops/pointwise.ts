// Functions of one value, and of two.
import type { Ops, Pointwise } from "../graph.ts";
import { type Interpret, mismatch, type Operand, perValue, type Shape } from "./call.ts";

/** b of `mul` and `add` has a's shape but for axes of size 1 and missing leading axes, which are repeated. */
export function broadcastShape(op: string, a: Operand, b: Operand): Shape {
  const lead = a.shape.length - b.shape.length;
  if (lead < 0 || b.shape.some((n, i) => n !== 1 && n !== a.shape[lead + i])) {
    mismatch(op, b, `[${a.shape.join(", ")}], axes of size 1 or leading ones missing`);
  }
  return a.shape;
}

/** Operations on one value, an exponential counting as one. */
const FLOPS: Readonly<Record<Pointwise, number>> = {
  silu: 4,
  sigmoid: 3,
  tanh: 1,
  exp: 1,
  softplus: 2,
  gelu: 4,
  geluTanh: 9,
};

export function pointwise<X extends Operand>(
  made: Interpret<X>,
): Pick<Ops<X>, "map" | "affine" | "clamp" | "mul" | "add"> {
  const unary = (x: X, name: string, flops: number, params: readonly unknown[] = []) =>
    ({ name, inputs: [x], params, shape: () => x.shape, flops: perValue(flops), byRow: true }) as const;
  const binary = (name: "mul" | "add", a: X, b: X) =>
    made({
      name,
      inputs: [a, b],
      params: [],
      shape: () => broadcastShape(name, a, b),
      flops: perValue(1),
      byRow: true,
      again: (op, [x, y]) => op[name](x!, y!),
    });
  return {
    map: (f, x) => made({ ...unary(x, f, FLOPS[f]), again: (op, [a]) => op.map(f, a!) }),
    affine: (x, factor, offset) =>
      made({ ...unary(x, "affine", 2, [factor, offset]), again: (op, [a]) => op.affine(a!, factor, offset) }),
    clamp: (x, low, high) =>
      made({ ...unary(x, "clamp", 2, [low, high]), again: (op, [a]) => op.clamp(a!, low, high) }),
    mul: (a, b) => binary("mul", a, b),
    add: (a, b) => binary("add", a, b),
  };
}
