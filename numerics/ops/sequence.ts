// Ops that go through the tokens in their order.
import type { Ops } from "../graph.ts";
import { type Interpret, mismatch, type Operand, perValue, rank, type Shape, sameAs } from "./call.ts";

export function causalConvShape(x: Operand, weight: Operand): Shape {
  const [, channels] = rank("causalConv", x, 2);
  if (rank("causalConv", weight, 2)[0] !== channels) mismatch("causalConv", weight, `[${channels}, width]`);
  return x.shape;
}

export function deltaRuleShape(q: Operand, k: Operand, v: Operand, decay: Operand, beta: Operand): Shape {
  const [tokens, keyHeads] = rank("deltaRule", q, 3);
  const [, heads] = rank("deltaRule", v, 3);
  sameAs("deltaRule", k, q.shape);
  if (v.shape[0] !== tokens || heads! % keyHeads! !== 0) {
    mismatch("deltaRule", v, `[${tokens}, a multiple of ${keyHeads}, channels]`);
  }
  for (const gate of [decay, beta]) sameAs("deltaRule", gate, [tokens!, heads!]);
  return v.shape;
}

export const sequential = <X extends Operand>(made: Interpret<X>): Pick<Ops<X>, "causalConv" | "deltaRule"> => ({
  causalConv: (x, weight) =>
    made({
      name: "causalConv",
      inputs: [x, weight],
      params: [],
      shape: () => causalConvShape(x, weight),
      flops: perValue(2 * weight.shape[1]!),
      byRow: false,
      again: (op, [a, w]) => op.causalConv(a!, w!),
    }),
  deltaRule: (q, k, v, decay, beta) =>
    made({
      name: "deltaRule",
      inputs: [q, k, v, decay, beta],
      params: [],
      shape: () => deltaRuleShape(q, k, v, decay, beta),
      flops: perValue(7 * q.shape[2]!),
      byRow: false,
      again: (op, [query, key, value, keep, rate]) => op.deltaRule(query!, key!, value!, keep!, rate!),
    }),
});
