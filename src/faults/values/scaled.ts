// A scale that was not applied, or applied twice: FP8 codes without theirs are up to 448 times as large (unsloth#6200).
import { keysWhere, recalculated, withBytes } from "../edit.ts";
import type { TensorFault } from "../fault.ts";
import { HALF_ULP } from "../pair.ts";

/** The largest value of an F8_E4M3: what a block's largest value is scaled to. */
const LARGEST_CODE = 448;
/** Rounding, and a little for the factor, which is an estimate. */
const TOLERANCE = 1.1 * HALF_ULP;

export const scaled: TensorFault<{ readonly factor: number }> = {
  code: "SCALED",
  of: "tensor",
  places: (sample) => keysWhere(sample, ({ shape }) => shape.length > 1),
  make: (sample, key) =>
    withBytes(
      sample,
      key,
      recalculated(sample.source, key, (x) => LARGEST_CODE * x),
    ),
  recognise(pair) {
    // By least squares, as the ratio of one element has that element's rounding.
    const factor = pair.sum((value, x) => value * x) / pair.sum((value) => value * value);
    if (!Number.isFinite(factor) || factor === 0) return null;
    return pair.every((value, x) => Math.abs(x - factor * value) <= TOLERANCE * Math.abs(x)) ? { factor } : null;
  },
  words: ({ factor }) => `is ${factor.toPrecision(4)} times as large`,
  mend: () => "apply the tensor's scale once",
};
