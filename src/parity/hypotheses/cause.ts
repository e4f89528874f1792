// What a search beside recorded logits came to, in words: the cause, the hypotheses that fit equally, or that it is unknown.
import type { LogitComparison } from "../../../numerics/metrics.ts";
import { InputError } from "../../base/errors.ts";
import type { Cause } from "../../faults/cause.ts";
import { isVision, partOf } from "../../faults/undo/parts.ts";
import { scientific } from "../checks/check.ts";
import type { ForwardOptions } from "../forward/outcome.ts";
import type { Passes } from "../passes.ts";
import type { Evidence } from "../verdict/evidence.ts";
import type { WithoutKnown } from "../verdict/experiments.ts";
import { tapLimit } from "../verdict/limits.ts";
import { hfGraph, nativeGraph, type TrialGraph } from "./graph.ts";
import type { Hypothesis } from "./hypothesis.ts";
import { type Explanation, type Found, Search, type Tried } from "./search.ts";

/** Hypotheses that were tried, as reports list them. */
export interface HypothesesReport {
  readonly hypotheses: readonly Tried[];
  /** Those that there was no time for. */
  readonly untried: number;
}

export interface SearchedCause extends HypothesesReport {
  readonly causes: readonly Cause[];
  /** Where nothing explains the golden: what was learned. */
  readonly steps: readonly string[];
}

/** Rounding in a narrow type, as in verdict/hypotheses.ts: what a forward pass in it makes, over that of the logits alone. */
const TIMES_LAST_ROUNDING = 1000;
/** What is left where rounding alone differs. */
const FLOOR = 1e-8;

/** Tries every known fault on the side that is compared with a golden. */
export async function searchGolden(
  passes: Passes,
  evidence: Evidence,
  comparison: LogitComparison,
  known: WithoutKnown | null,
  { backend, signal, onProgress }: ForwardOptions & Pick<ConstructorParameters<typeof Search>[0], "backend">,
): Promise<SearchedCause> {
  const { metrics, thresholds, goldenRounding } = evidence;
  const [side] = passes.sides;
  const { golden, input } = passes.goldenRun!;
  const floor =
    goldenRounding === null
      ? Math.min(thresholds.klMeanNats, FLOOR)
      : TIMES_LAST_ROUNDING * (goldenRounding.klMeanNats ?? 0);
  const graph = graphFor(side!, metrics.klMeanNats, known);
  if (graph === null) return { causes: [], hypotheses: [], untried: 0, steps: [] };
  const { family } = side!.view.model;
  // Without known differences both graphs of a native side compute the same.
  const before = known === null || graph.isOwn ? comparison : null;
  const isSuspect = suspectsBy(evidence);
  const search = new Search({ isSuspect, before, graph, family, input, golden, backend, floor, signal, onProgress });
  const found = await search.run();
  return {
    causes: found.explanations.length === 0 ? [] : [causeOf(found)],
    hypotheses: found.tried.toSorted(
      (a, b) => Number(b.fits) - Number(a.fits) || b.tokens - a.tokens || a.klMeanNats - b.klMeanNats,
    ),
    untried: found.untried,
    steps: found.explanations.length === 0 ? unknown(found) : [],
  };
}

/** Where the trainer's own way is nearer to the golden, the golden is the trainer's. Null where that graph does not exist. */
function graphFor(side: Passes["sides"][number], klNats: number, known: WithoutKnown | null): TrialGraph | null {
  try {
    const isTrainers = known !== null && known.without.metrics.klMeanNats > klNats && side.layout.side === "native";
    return isTrainers ? nativeGraph(side) : hfGraph(side);
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}

/** Hidden states beside the golden say which layers are right: of others alone faults are undone. */
function suspectsBy({ taps, exact, goldenTaps: recorded }: Evidence): ((key: string) => boolean) | undefined {
  if (!recorded || taps.length === 0) return undefined;
  const layers = taps.flatMap(({ tap, relativeRms }) => {
    const layer = /^layers\.(\d+)\.ffn$/.exec(tap)?.[1];
    return layer === undefined ? [] : [{ layer: Number(layer), isRight: relativeRms <= tapLimit(exact, recorded) }];
  });
  const parting = layers.find(({ isRight }) => !isRight)?.layer ?? Number.POSITIVE_INFINITY;
  const right = layers.filter(({ layer, isRight }) => isRight && layer < parting).at(-1)?.layer ?? -1;
  return (key) => {
    const { layer } = partOf(key);
    // What stands before the layers is right where one of them is; what stands behind them is not seen.
    if (layer === null || isVision(key)) return right < 0 || parting === Number.POSITIVE_INFINITY;
    return layer > right && layer <= parting;
  };
}

const named = ({ place, words, how }: Hypothesis): string => `"${place}" ${words} (${how})`;

function causeOf(found: Found): Cause {
  const { explanations } = found;
  const all = explanations.flatMap(({ hypotheses }) => hypotheses);
  const codes = new Set(explanations.map(({ hypotheses }) => hypotheses.map(({ code }) => code).join(" + ")));
  const places = {
    tensors: [...new Set(all.flatMap(({ tensors }) => tensors))],
    fields: [...new Set(all.flatMap(({ fields }) => fields))],
  };
  const evidence = evidenceOf(found);
  const told = explanations.map(({ hypotheses }) => hypotheses.map(named).join(", and "));
  const mends = [...new Set(all.map(({ mend }) => mend))];
  const alike = told.join("; or ");
  // Several that fit equally are told as such, never one of them alone.
  if (codes.size > 1) {
    return {
      code: "SEVERAL_FIT",
      ...places,
      explanation: `these fit equally, and this golden cannot tell them apart: ${alike}`,
      evidence,
      fix: `compare with a checkpoint of the right weights, or with a longer golden; then: ${mends.join("; or ")}`,
    };
  }
  const pair = explanations[0]!.hypotheses.length > 1 ? "two faults at once: " : "";
  const equally = "these fit equally, and this golden cannot tell them apart: ";
  const explanation = (told.length > 1 ? equally : pair) + alike;
  return { code: all[0]!.code, ...places, explanation, evidence, fix: mends.join("; ") };
}

function evidenceOf({ explanations, tried, untried, before }: Found): string {
  const count = `${tried.length} hypotheses were tried${untried > 0 ? `, and ${untried} were not for want of time` : ""}`;
  const left = [...new Set(explanations.map(after))].join(" or ");
  return `mean KL is ${scientific(before)} nats/token, and ${left} undone; ${count}`;
}

const after = ({ klMeanNats, between }: Explanation): string =>
  between === null
    ? `${scientific(klMeanNats)} with that`
    : `${scientific(between)} with the first, ${scientific(klMeanNats)} with both`;

function unknown({ tried, untried }: Found): string[] {
  const whole = tried.filter(({ tokens }) => tokens > 2);
  const best = whole.reduce<Tried | null>((a, b) => (a === null || b.klMeanNats < a.klMeanNats ? b : a), null);
  const most =
    best === null
      ? ""
      : `; the best of them ("${best.place}", ${best.how}) leaves ${scientific(best.klMeanNats)} nats/token`;
  const left = untried > 0 ? `, ${untried} more were not for want of time` : "";
  return [
    `the cause is unknown: ${tried.length} known faults were undone on trial${left}, and none explains the golden${most}`,
    "record hidden states, too (`hidden.layers.N`, docs/goldens.md): the layer where they part is then named, and only its faults are tried",
  ];
}
