// Other values, in a way that no other fault explains: a stale tensor, one left random, a bit that flipped on a disk.
import type { TensorFault } from "../fault.ts";
import type { TensorPair } from "../pair.ts";

/** Elements; null where they could not be compared one by one. */
type Found = { readonly different: number; readonly of: number } | "other bytes";

interface WeightsDiffer extends TensorFault<Found> {
  /** @param pair null where its values cannot be compared one by one */
  recognise(pair: TensorPair | null): Found;
}

export const weightsDiffer: WeightsDiffer = {
  code: "WEIGHTS_DIFFER",
  of: "tensor",
  recognise: (pair) => (pair === null ? "other bytes" : { different: pair.different, of: pair.expected.length }),
  words: (found) =>
    found === "other bytes" ? "has other bytes" : `has other values in ${found.different} of ${found.of} elements`,
  mend: () => "convert the checkpoint again with this tool, or find what else wrote this tensor",
};
