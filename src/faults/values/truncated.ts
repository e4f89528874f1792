// A tensor whose lower bits were cut off: the upper halves of its f32 words, taken for bf16, are not rounded.
import { type Cast, NARROWINGS } from "../evidence/values.ts";
import type { TensorFault } from "../fault.ts";
import { whereOf } from "../where.ts";

export const truncated: TensorFault<Cast & { readonly where: string }> = {
  code: "TRUNCATED",
  of: "tensor",
  recognise(pair) {
    for (const narrowing of NARROWINGS) {
      if (narrowing.how !== "truncated") continue;
      for (const side of ["one", "other"] as const) {
        if (pair.isNarrowed(narrowing, side)) return { ...narrowing, side, where: whereOf(pair).where };
      }
    }
    return null;
  },
  words: ({ type, side, where }, { one, other }) =>
    `is cut off to ${type}, not rounded, in ${side === "one" ? one : other}: ${where}`,
  mend: () => "round to nearest, ties to even, as torch casts: the lower half of a word is more than nothing",
};
