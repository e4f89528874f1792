// A scale that was not applied, or applied twice: FP8 codes without theirs are up to 448 times as large (unsloth#6200).
import type { TensorFault } from "../fault.ts";
import { HALF_ULP } from "../pair.ts";

/** Rounding, and a little for the factor, which is an estimate. */
const TOLERANCE = 1.1 * HALF_ULP;

export const scaled: TensorFault<{ readonly factor: number }> = {
  code: "SCALED",
  of: "tensor",
  recognise(pair) {
    // By least squares, as the ratio of one element has that element's rounding.
    const factor = pair.sum((value, x) => value * x) / pair.sum((value) => value * value);
    if (!Number.isFinite(factor) || factor === 0) return null;
    return pair.every((value, x) => Math.abs(x - factor * value) <= TOLERANCE * Math.abs(x)) ? { factor } : null;
  },
  words: ({ factor }) => `is ${factor.toPrecision(4)} times as large`,
  mend: () => "apply the tensor's scale once",
};
