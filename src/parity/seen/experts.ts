// Which experts no token chose: what is wrong with them, logits cannot show.
import type { ForwardPlan } from "../../../numerics/shapes/plan.ts";
import type { Chosen } from "./chosen.ts";

export interface ExpertUse {
  /** Of all mixtures together. */
  readonly experts: number;
  /** How many of them were not chosen on every side. */
  readonly notChosen: number;
  /** Mixtures that have such experts; numbers are those of the experts. */
  readonly layers: readonly ExpertsOfLayer[];
}

export interface ExpertsOfLayer {
  readonly name: string;
  readonly experts: number;
  readonly notChosen: { readonly a: readonly number[]; readonly b: readonly number[] | null };
}

/** How many experts each mixture of a pass has, by its name. @param plans of one side on each input */
export const mixturesOf = (plans: readonly ForwardPlan[]): ReadonlyMap<string, number> =>
  new Map(plans.flatMap(({ reads }) => reads.mixtures.map(({ name, experts }) => [name, experts.length])));

/** Null for a model without mixtures of experts. Mixtures that the other side lacks were not compared and are left out. */
export function expertUse(sizes: ReadonlyMap<string, number>, chosen: Chosen): ExpertUse | null {
  const compared = [...sizes].filter(([name]) => chosen.has(name));
  if (compared.length === 0) return null;
  const layers = compared.map(([name, experts]): ExpertsOfLayer => {
    const [a, b] = chosen.get(name)!;
    const all = Array.from({ length: experts }, (_, e) => e);
    const not = (side: ReadonlySet<number>) => all.filter((e) => !side.has(e));
    return { name, experts, notChosen: { a: not(a!), b: b === undefined ? null : not(b) } };
  });
  const missing = ({ notChosen: { a, b } }: ExpertsOfLayer) => new Set([...a, ...(b ?? [])]).size;
  return {
    experts: layers.reduce((sum, layer) => sum + layer.experts, 0),
    notChosen: layers.reduce((sum, layer) => sum + missing(layer), 0),
    layers: layers.filter((layer) => missing(layer) > 0),
  };
}
