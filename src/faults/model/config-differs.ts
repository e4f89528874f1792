// A config that gives other mathematics: a theta that fell back to a default (torchtitan#3772), another eps
// (Megatron-Bridge#5712). Weights are the same to the byte.
import type { Family, MathFacts } from "../../family/family.ts";
import { numberIn, withNumber } from "../edit.ts";
import type { ModelFault } from "../fault.ts";

export interface ConfigDifference {
  readonly field: string;
  readonly a: unknown;
  readonly b: unknown;
}

/** Says how long an input may be, not what is computed. */
const NOT_COMPUTED = new Set(["maxPositions"]);

/** Sizes of sliding windows, 0 or absent where there is none. */
const WINDOWS = new Set(["window", "windows", "sliding_window"]);
/** Whether the output head is the embedding. */
const TIES: readonly string[] = ["tied", "tie_word_embeddings"];

/** Fields of `math()` that the two configs give differently, those without an effect aside. */
export function compareConfigs(a: Family, b: Family): ConfigDifference[] {
  const [left, right] = [a.math(), b.math()];
  const reach = Math.max(a.maxPositions, b.maxPositions);
  return [...new Set([...Object.keys(left), ...Object.keys(right)])]
    .filter((field) => !NOT_COMPUTED.has(field))
    .filter((field) => effective(field, left[field], reach) !== effective(field, right[field], reach))
    .map((field) => ({ field, a: left[field] ?? null, b: right[field] ?? null }));
}

export const isTie = ({ field }: ConfigDifference): boolean => TIES.includes(field);

/** The value in one spelling. A window that no position of either model reaches beyond is none. */
function effective(field: string, value: MathFacts[string] | undefined, reach: number): string {
  if (!WINDOWS.has(field)) return JSON.stringify(value ?? null);
  const size = (window: number) => (window >= reach ? 0 : window);
  if (value === undefined || value === null) return "0";
  return JSON.stringify(Array.isArray(value) ? value.map(size) : typeof value === "number" ? size(value) : value);
}

/** Defaults that a field falls back to where it is not read. `make` takes the second where the model has the first. */
const DEFAULTS: Readonly<Record<string, readonly [number, number]>> = {
  rope_theta: [1e4, 5e5],
  rms_norm_eps: [1e-6, 1e-5],
};

export const configDiffers: ModelFault<readonly ConfigDifference[], readonly ConfigDifference[]> = {
  code: "CONFIG_DIFFERS",
  of: "model",
  places: ({ config }) => Object.keys(DEFAULTS).filter((field) => numberIn(config, field) !== undefined),
  make({ source, config }, field) {
    const [usual, other] = DEFAULTS[field]!;
    return { source, config: withNumber(config, field, numberIn(config, field) === usual ? other : usual) };
  },
  recognise: (differences) => (differences.length === 0 ? null : differences),
  words: () => "the two sides' configs give different mathematics",
  mend: () => "give the side that is wrong the other's config (--config-a, --config-b) and compare again",
};
