// Norms whose weight is stored less 1 on one side.
import { recalculated } from "../../edit.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { keysLike } from "../names.ts";

const less = tensorKind({
  name: "norm-minus-one",
  code: "OFFSET",
  about: "a norm's weight less 1, where the model multiplies by the weight (mlx-lm#1623)",
  places: (sample) => keysLike(sample, /norm\.weight$/, ({ shape }) => shape.length === 1),
  bytes: ({ source }, key) => recalculated(source, key, (x) => x - 1),
});

export const OFFSET: readonly Kind[] = [less];
