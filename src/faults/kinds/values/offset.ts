// Norms whose weight is stored less 1 on one side.
import { recalculated } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { keysLike } from "../names.ts";

const norms = (sample: Sample): string[] => keysLike(sample, /norm\w*\.weight$/, ({ shape }) => shape.length === 1);

export const OFFSET: readonly Kind[] = [
  tensorKind({
    name: "norm-minus-one",
    code: "OFFSET",
    about: "a norm's weight less 1, where the model multiplies by the weight (mlx-lm#1623)",
    places: norms,
    bytes: ({ source }, key) => recalculated(source, key, (x) => x - 1),
  }),
  tensorKind({
    name: "norm-plus-one",
    code: "OFFSET",
    about: "a norm's weight with 1 added twice (mlx-vlm#2114)",
    places: norms,
    bytes: ({ source }, key) => recalculated(source, key, (x) => x + 1),
  }),
];
