// Two sides whose weights have other floating-point types: a cast lies between them, and may have been asked for.
import { type CastTypes, castModel, castTypes } from "../views/rounding.ts";
import { type ParityModel, parityView } from "./side.ts";

export interface SideCast {
  /** From the types of a to those of b. */
  readonly types: readonly CastTypes[];
  /** Whether it was asked for (`--after-cast`): a was then run in the types of b. */
  readonly asked: boolean;
}

/** The sides as they are to be run; the cast is null where both have the same types. */
export function afterCast(
  sides: readonly ParityModel[],
  asked: boolean,
): { readonly sides: readonly ParityModel[]; readonly cast: SideCast | null } {
  const [a, b] = sides;
  if (a === undefined || b === undefined) return { sides, cast: null };
  const other = parityView(b);
  const types = castTypes(parityView(a).source, other.source);
  if (types.length === 0) return { sides, cast: null };
  return { sides: asked ? [castModel(a, other), b] : sides, cast: { types, asked } };
}
