// A config that gives other mathematics: a theta that fell back to a default (torchtitan#3772), another eps
// (Megatron-Bridge#5712). Weights are the same to the byte.
import type { Family } from "../../family/family.ts";
import { mathematics } from "../../family/mathematics.ts";
import type { ModelFault } from "../fault.ts";

export interface ConfigDifference {
  readonly field: string;
  readonly a: unknown;
  readonly b: unknown;
}

/** Whether the output head is the embedding. */
const TIES: readonly string[] = ["tied", "tie_word_embeddings"];

/** Fields of `math()` that the two configs give differently, those without an effect aside. */
export function compareConfigs(a: Family, b: Family): ConfigDifference[] {
  const [left, right] = [a.math(), b.math()];
  const reach = Math.max(a.maxPositions, b.maxPositions);
  const [ofA, ofB] = [mathematics(a, reach), mathematics(b, reach)];
  return [...new Set([...ofA.keys(), ...ofB.keys()])]
    .filter((field) => ofA.get(field) !== ofB.get(field))
    .map((field) => ({ field, a: left[field] ?? null, b: right[field] ?? null }));
}

export const isTie = ({ field }: ConfigDifference): boolean => TIES.includes(field);

export const configDiffers: ModelFault<readonly ConfigDifference[], readonly ConfigDifference[]> = {
  code: "CONFIG_DIFFERS",
  of: "model",
  recognise: (differences) => (differences.length === 0 ? null : differences),
  words: () => "the two sides' configs give different mathematics",
  mend: () => "give the side that is wrong the other's config (--config-a, --config-b) and compare again",
};
