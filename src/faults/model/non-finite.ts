// NaN or infinite values: a run that diverged, a cast that overflowed, memory that was written before it was filled.
import type { ModelFault } from "../fault.ts";

/** Where such logits were seen first. */
interface Seen {
  readonly side: "reference" | "candidate";
  /** Whether that side was recorded, and is no checkpoint. */
  readonly recorded: boolean;
}

export const nonFinite: ModelFault<Seen | null, Seen> = {
  code: "NON_FINITE",
  of: "model",
  recognise: (seen) => seen,
  words: ({ side, recorded }) => `the ${side} ${recorded ? "holds" : "computes"} NaN or infinite logits`,
  mend: ({ recorded }) =>
    recorded
      ? "record the golden again, from a run whose logits are finite"
      : "run `validate` on that checkpoint, which names the tensors that are not finite",
};
