// A scale that was not applied, or applied twice: FP8 codes without theirs are up to 448 times as large (unsloth#6200).
import { keysWhere, recalculated, withBytes } from "../edit.ts";
import type { TensorFault } from "../fault.ts";
import { HALF_ULP } from "../pair.ts";

/** The largest value of an F8_E4M3: what a block's largest value is scaled to. */
const LARGEST_CODE = 448;

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
    const at = pair.expected.findIndex((value) => value !== 0);
    const factor = pair.found[at]! / pair.expected[at]!;
    if (at < 0 || factor === 0) return null;
    return pair.every((value, x) => Math.abs(x - factor * value) <= HALF_ULP * Math.abs(x)) ? { factor } : null;
  },
  words: ({ factor }) => `is ${factor.toPrecision(4)} times as large`,
  mend: () => "apply the tensor's scale once",
};
