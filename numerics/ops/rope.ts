import type { Ops, RopeTable } from "../graph.ts";
import { type Interpret, mismatch, type Operand, perValue, rank, type Shape } from "./call.ts";

export function ropeShape(x: Operand, table: RopeTable): Shape {
  const [tokens, , channels] = rank("rope", x, 3);
  if (tokens !== table.tokens || channels! < 2 * table.pairs) {
    mismatch("rope", x, `[${table.tokens}, heads, at least ${2 * table.pairs}]`);
  }
  return x.shape;
}

export const rotations = <X extends Operand>(made: Interpret<X>): Pick<Ops<X>, "rope"> => ({
  rope: (x, table, pairs) =>
    made({
      name: "rope",
      inputs: [x],
      params: [table, pairs],
      shape: () => ropeShape(x, table),
      flops: perValue(3),
      byRow: false,
      again: (op, [a]) => op.rope(a!, table, pairs),
    }),
});
