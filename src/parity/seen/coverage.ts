// What a run could see of the model: what its input exercised, and which weights are equal whether they ran or not.
import type { AttentionMask } from "../../../numerics/graph.ts";
import type { ForwardPlan } from "../../../numerics/shapes/plan.ts";
import { runSteps, type StepOptions } from "../../base/steps.ts";
import type { LongOnly } from "../../family/family.ts";
import type { HfView } from "../../views/as-hf.ts";
import { configsOf, type SideConfigs } from "../configs.ts";
import type { Passes } from "../passes.ts";
import type { ParityModel, SideWeights } from "../side.ts";
import { bytesOfBoth, compareBits, judgedBits, onlyInOne, type RawBits, type WeightBits } from "./bits.ts";
import type { Chosen } from "./chosen.ts";
import { type Readers, readersOf } from "./exercised.ts";
import { type ExpertUse, expertUse, mixturesOf } from "./experts.ts";

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

/** What headers and the input alone tell of a run, before it is run: the same in each part of it. */
export interface Outlook extends Omit<Coverage, "experts" | "weights"> {
  /** How many experts each mixture has, by its name. */
  readonly mixtures: ReadonlyMap<string, number>;
  readonly onlyIn: WeightBits["onlyIn"];
}

/** Where Hugging Face's pass does not run on these tensors, nothing tells what was left out. */
const EVERYTHING: Readers = () => ({ kind: "whole" });

/** @param plans of all sides on all inputs of the run */
export function outlookOf(sides: readonly ParityModel[], passes: Passes, plans: readonly ForwardPlan[]): Outlook {
  const readers = readersFor(passes);
  const views = passes.sides.map(({ view }) => view);
  return {
    tokens: passes.tokens,
    images: passes.images,
    seesImages: sides[0]!.family.vision !== undefined,
    configs: configsOf(sides),
    masks: limitedMasks(plans),
    longOnly: sides[0]!.family.longOnly?.() ?? [],
    unexercised: passes.unexercised(plans),
    tables: tablesOf(views[0]!, readers),
    mixtures: mixturesOf(passes.ofSide(plans, 0)),
    onlyIn: onlyIn(passes.sides),
  };
}

/** What tokens do not see all before them by, each once. */
function limitedMasks(plans: readonly ForwardPlan[]): AttentionMask[] {
  const masks = plans.flatMap(({ reads }) => reads.masks.filter(({ kind }) => kind === "window" || kind === "chunk"));
  return [...new Map(masks.map((mask) => [JSON.stringify(mask), mask])).values()];
}

/** What a run could see, from what it chose and which weights differ. */
export function coverageOf({ mixtures, onlyIn, ...outlook }: Outlook, chosen: Chosen, bits: RawBits | null): Coverage {
  return {
    ...outlook,
    experts: expertUse(mixtures, chosen),
    weights: bits && judgedBits(bits, chosen, onlyIn),
  };
}

function readersFor(passes: Passes): Readers {
  const inHf = passes.hfPlans();
  return inHf === null ? EVERYTHING : readersOf(inHf);
}

function tablesOf({ source }: HfView, readers: Readers): PickedTable[] {
  return [...source.tensors.values()].flatMap(({ key, shape: [rows = 0] }) => {
    const reader = readers(key);
    if (reader.kind !== "rows") return [];
    const picked = [...reader.rows].filter((row) => row < rows).length;
    return picked === rows ? [] : [{ key, rows, picked }];
  });
}

/** Null beside a golden. @param share the tensors that are compared here; all unless given */
export async function bitsOf(
  passes: Passes,
  options: StepOptions,
  share?: (key: string) => boolean,
): Promise<RawBits | null> {
  const [a, b] = passes.sides;
  if (a === undefined || b === undefined) return null;
  const [one, other] = [a.view.source, b.view.source];
  const comparing = compareBits(one, other, readersFor(passes), share);
  return await runSteps(comparing, "weights", bytesOfBoth(one, other, share), options);
}

function onlyIn([a, b]: readonly SideWeights[]): WeightBits["onlyIn"] {
  if (a === undefined || b === undefined) return { a: [], b: [] };
  const found = onlyInOne(a.view.source, b.view.source);
  // A tensor that only repeats one of its side's is compared with that one.
  const without = (keys: readonly string[], repeated: readonly string[]) =>
    keys.filter((key) => !repeated.includes(key));
  return { a: without(found.a, a.repeatsOf(b)), b: without(found.b, b.repeatsOf(a)) };
}
