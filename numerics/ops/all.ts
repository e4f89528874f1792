import type { Ops } from "../graph.ts";
import { attentions } from "./attention.ts";
import type { Interpret, Operand } from "./call.ts";
import { linearMaps } from "./linear.ts";
import { lookups } from "./lookup.ts";
import { norms } from "./norm.ts";
import { pointwise } from "./pointwise.ts";
import { rotations } from "./rope.ts";
import { sequential } from "./sequence.ts";
import { moving } from "./shape.ts";

/** The ops that a graph may use, each call given to an interpreter; all but `mixture`, which has graphs inside. */
export const interpreted = <X extends Operand>(made: Interpret<X>): Omit<Ops<X>, "mixture"> => ({
  ...lookups(made),
  ...norms(made),
  ...linearMaps(made),
  ...moving(made),
  ...rotations(made),
  ...attentions(made),
  ...pointwise(made),
  ...sequential(made),
});
