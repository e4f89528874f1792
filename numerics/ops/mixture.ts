// Mixture of experts: the one op with graphs inside, which every interpreter runs in its own way.
import type { Routing } from "../graph.ts";
import { mismatch, type Operand, rank, type Shape, sameAs } from "./call.ts";

/** Shape of the result; the number of experts is the width of the logits. */
export function mixtureShape(x: Operand, { logits_TE, bias_E, router }: Routing<Operand>): Shape {
  const [tokens] = rank("mixture", x, 2);
  const [rows, experts] = rank("mixture", logits_TE, 2);
  if (rows !== tokens || experts! < router.k) {
    mismatch("mixture", logits_TE, `router logits [${tokens}, at least ${router.k}]`);
  }
  if (bias_E) sameAs("mixture", bias_E, [experts!]);
  return x.shape;
}

/** What an expert gives back has the shape of what it got. */
export const expertShape = (x: Operand, y: Operand): void => sameAs("mixture", y, x.shape);
