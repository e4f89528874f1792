import type { Ops } from "../graph.ts";
import { given, type Interpret, mismatch, type Operand, perValue, rank, type Shape } from "./call.ts";

export function linearShape(x: Operand, weight: Operand, bias?: Operand): Shape {
  const [tokens, inputs] = rank("linear", x, 2);
  if (weight.shape.length !== 2 || weight.shape[1] !== inputs) mismatch("linear", weight, `[outputs, ${inputs}]`);
  const outputs = weight.shape[0]!;
  if (bias !== undefined && (bias.shape.length !== 1 || bias.shape[0] !== outputs)) {
    mismatch("linear", bias, `[${outputs}]`);
  }
  return [tokens!, outputs];
}

export const linearMaps = <X extends Operand>(made: Interpret<X>): Pick<Ops<X>, "linear"> => ({
  linear: (x, weight, bias, summation) =>
    made({
      name: "linear",
      inputs: given(x, weight, bias),
      params: [summation],
      shape: () => linearShape(x, weight, bias),
      flops: perValue(2 * (weight.shape[1] ?? 0) + (bias ? 1 : 0)),
      byRow: true,
      again: (op, [a, w, b]) => op.linear(a!, w!, b, summation),
    }),
});
