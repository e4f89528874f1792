// What a run could see of the model: what its input exercised, and which weights are equal whether they ran or not.
import type { AttentionMask } from "../../../numerics/graph.ts";
import { runSteps, type StepOptions } from "../../base/steps.ts";
import type { LongOnly } from "../../family/family.ts";
import type { HfView } from "../../views/as-hf.ts";
import { configsOf, type SideConfigs } from "../configs.ts";
import type { ForwardOutcome, Passes } from "../passes.ts";
import type { ParityModel, SideWeights } from "../side.ts";
import { bytesOfBoth, compareBits, type WeightBits } from "./bits.ts";
import { type Exercised, exercisedBy } from "./exercised.ts";
import { type ExpertUse, expertUse } from "./experts.ts";

export interface Coverage {
  /** Tokens of the longest input. */
  readonly tokens: number;
  readonly images: number;
  readonly seesImages: boolean;
  readonly configs: SideConfigs;
  readonly masks: readonly AttentionMask[];
  /** What only longer inputs than some length show. */
  readonly longOnly: readonly LongOnly[];
  /** Keys of tensors that these inputs leave out and others would not, of both sides. */
  readonly unexercised: readonly string[];
  /** Null for a model without mixtures of experts. */
  readonly experts: ExpertUse | null;
  /** Tables of which ids pick rows, and nothing else reads them. */
  readonly tables: readonly PickedTable[];
  /** Null for a golden: it has no weights. */
  readonly weights: WeightBits | null;
}

export interface PickedTable {
  readonly key: string;
  readonly rows: number;
  readonly picked: number;
}

/** Where Hugging Face's pass does not run on these tensors, nothing tells what was left out. */
const EVERYTHING: Exercised = { partial: () => null };

export async function coverageOf(
  sides: readonly ParityModel[],
  passes: Passes,
  { plans, chosen }: ForwardOutcome,
  options: StepOptions,
): Promise<Coverage> {
  const inHf = passes.hfPlans();
  const exercised = inHf === null ? EVERYTHING : exercisedBy(inHf, chosen);
  const views = passes.sides.map(({ view }) => view);
  return {
    tokens: passes.tokens,
    images: passes.images,
    seesImages: sides[0]!.family.vision !== undefined,
    configs: configsOf(sides),
    masks: plans.flatMap(({ reads }) => reads.masks),
    longOnly: sides[0]!.family.longOnly?.() ?? [],
    unexercised: passes.unexercised(plans),
    experts: expertUse(passes.ofSide(plans, 0), chosen),
    tables: tablesOf(views[0]!, exercised),
    weights: await weightsOf(passes.sides, exercised, options),
  };
}

function tablesOf({ source }: HfView, exercised: Exercised): PickedTable[] {
  return [...source.tensors.values()].flatMap(({ key, shape: [rows = 0] }) => {
    const partial = exercised.partial(key);
    if (partial?.why !== "row") return [];
    const picked = Array.from({ length: rows }, (_, row) => row).filter((row) => partial.has(row)).length;
    return picked === rows ? [] : [{ key, rows, picked }];
  });
}

async function weightsOf(
  [a, b]: readonly SideWeights[],
  exercised: Exercised,
  options: StepOptions,
): Promise<WeightBits | null> {
  if (a === undefined || b === undefined) return null;
  const [one, other] = [a.view.source, b.view.source];
  const found = await runSteps(compareBits(one, other, exercised), "weights", bytesOfBoth(one, other), options);
  // A tensor that only repeats one of its side's is compared with that one.
  const without = (keys: readonly string[], repeated: readonly string[]) =>
    keys.filter((key) => !repeated.includes(key));
  const onlyIn = { a: without(found.onlyIn.a, a.repeatsOf(b)), b: without(found.onlyIn.b, b.repeatsOf(a)) };
  return { ...found, onlyIn };
}
