// Two sides whose weights have other floating-point types: a cast lies between them, and may have been asked for.
import type { HfView } from "../views/as-hf.ts";
import { type CastTypes, castModel, castTypes, narrower } from "../views/rounding.ts";
import { type ParityModel, parityView, SideWeights } from "./side.ts";

export interface SideCast {
  /** From the types of a to those of b. */
  readonly types: readonly CastTypes[];
  /** Whether it was asked for (`--after-cast`): a was then run in the types of b. */
  readonly asked: boolean;
}

/** A model, and how parity sees it. */
export interface Seen {
  readonly model: ParityModel;
  readonly view: HfView;
}

/** The sides as they are to be run; the cast is null where both have the same types. */
export function afterCast(
  sides: readonly Seen[],
  asked: boolean,
): { readonly sides: readonly Seen[]; readonly cast: SideCast | null } {
  const [a, b] = sides;
  if (a === undefined || b === undefined) return { sides, cast: null };
  const types = castTypes(a.view.source, b.view.source);
  if (types.length === 0) return { sides, cast: null };
  if (!asked) return { sides, cast: { types, asked } };
  const model = castModel(a.model, a.view, (key) => b.view.source.tensors.get(key)?.dtype);
  return { sides: [{ model, view: parityView(model) }, b], cast: { types, asked } };
}

/** Both sides with each tensor in the narrower of its two types: what then differs, no cast explains. */
export function inOneType(models: readonly ParityModel[], sides: readonly SideWeights[]): SideWeights[] {
  const typesOf = (key: string) => sides.map(({ view }) => view.source.tensors.get(key)?.dtype);
  return sides.map(({ view }, i) => {
    const model = castModel(view.model, view, (key) => {
      const [a, b] = typesOf(key);
      return narrower(a, b);
    });
    return new SideWeights({ ...models[i]!, ...model });
  });
}
