// A tensor's values times a factor.
import { recalculated } from "../../edit.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { keysLike } from "../names.ts";

/** The largest value of an F8_E4M3: what a block's largest value is scaled to. */
const LARGEST_CODE = 448;

const codes = tensorKind({
  name: "scale-not-applied",
  code: "SCALED",
  about: "a matrix 448 times as large: its scale was not applied (unsloth#6200)",
  places: (sample) => keysLike(sample, /./, ({ shape }) => shape.length > 1),
  bytes: ({ source }, key) => recalculated(source, key, (x) => LARGEST_CODE * x),
});

export const SCALED: readonly Kind[] = [codes];
