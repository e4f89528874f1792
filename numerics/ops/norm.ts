// Norms over the last axis.
import type { Ops } from "../graph.ts";
import { given, type Interpret, mismatch, type Operand, perValue, type Shape } from "./call.ts";

/** Weights have the size of the last axis. */
export function normShape(op: string, x: Operand, ...weights: readonly Operand[]): Shape {
  const channels = x.shape.at(-1);
  for (const weight of weights) {
    if (weight.shape.length !== 1 || weight.shape[0] !== channels) mismatch(op, weight, `[${channels}]`);
  }
  return x.shape;
}

export const norms = <X extends Operand>(made: Interpret<X>): Pick<Ops<X>, "rmsNorm" | "layerNorm"> => ({
  rmsNorm: (x, weight, eps) =>
    made({
      name: "rmsNorm",
      inputs: given(x, weight),
      params: [eps],
      shape: () => normShape("rmsNorm", x, ...given(weight)),
      flops: perValue(4),
      byRow: true,
      again: (op, [a, w]) => op.rmsNorm(a!, w ?? null, eps),
    }),
  layerNorm: (x, weight, bias, eps) =>
    made({
      name: "layerNorm",
      inputs: [x, weight, bias],
      params: [eps],
      shape: () => normShape("layerNorm", x, weight, bias),
      flops: perValue(7),
      byRow: true,
      again: (op, [a, w, b]) => op.layerNorm(a!, w!, b!, eps),
    }),
});
