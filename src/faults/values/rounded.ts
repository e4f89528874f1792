// A tensor that went through bf16, such as a router or a norm that the trainer keeps in f32 (Automodel#2553).
import { type Cast, NARROWINGS } from "../evidence/values.ts";
import type { TensorFault } from "../fault.ts";
import { whereOf } from "../where.ts";

export const rounded: TensorFault<Cast & { readonly where: string }> = {
  code: "ROUNDED",
  of: "tensor",
  recognise(pair) {
    for (const narrowing of NARROWINGS) {
      if (narrowing.how !== "rounded") continue;
      // Either may be the rounded one: the reference is a side, not the right side.
      for (const side of ["one", "other"] as const) {
        if (pair.isNarrowed(narrowing, side)) return { ...narrowing, side, where: whereOf(pair).where };
      }
    }
    return null;
  },
  words: ({ type, side, where }, { one, other }) =>
    `is rounded to ${type} in ${side === "one" ? one : other}: ${where}`,
  mend: () => "keep the element type of this tensor",
};
