// Runs the passes, and tells from them what is wrong, where and why.
import { type ConfigDifference, compareConfigs } from "../../family/config-differences.ts";
import type { ForwardOutcome } from "../forward/outcome.ts";
import { searchGolden } from "../hypotheses/cause.ts";
import type { GoldenRounding } from "../inputs/golden.ts";
import type { NoiseFloor } from "../noise.ts";
import { routingReport } from "../routing.ts";
import type { RawBits } from "../seen/bits.ts";
import { bitsOf, coverageOf, type Outlook, outlookOf } from "../seen/coverage.ts";
import type { SideWeights } from "../side.ts";
import { acceptancesOf, codesOf } from "./accepted.ts";
import { diagnose, resolved } from "./diagnosis.ts";
import { firstDivergence } from "./divergence.ts";
import type { Evidence } from "./evidence.ts";
import { type WithoutKnown, withoutKnown } from "./experiments.ts";
import { type Judgement, judgementOf } from "./judgement.ts";
import { Laboratory } from "./laboratory.ts";
import { thresholds, unmeasuredThresholds } from "./limits.ts";
import { nextSteps } from "./next-steps.ts";
import { isToBeExplained, settle } from "./settle.ts";
import { inBytes, type Trial } from "./trial.ts";

/** What headers, configs and the input tell before anything is run: the same in each part of a run. */
export interface Foreseen
  extends Pick<
    Evidence,
    "plans" | "configDifferences" | "unusedTensors" | "cast" | "golden" | "goldenTaps" | "exact" | "isByLayers"
  > {
  readonly outlook: Outlook;
  /** Of a golden that was computed in a narrow type. */
  readonly goldenType: GoldenRounding["type"] | null;
}

/** What was measured, of a run or of a part of one. */
export interface Observed {
  readonly outcome: ForwardOutcome;
  readonly noiseFloor: NoiseFloor | null;
  readonly foreseen: Foreseen;
  readonly bits: RawBits | null;
  readonly brokenTies: Evidence["brokenTies"];
  readonly evidence: Evidence;
  readonly known: WithoutKnown | null;
  readonly laboratory: Laboratory;
}

/** Runs the forward passes, and where they differ runs them again in search of the reason. */
export const judge = async (trial: Trial): Promise<Judgement> => await conclude(trial, await observe(trial));

/** Runs the passes, and those with known upstream differences undone where it takes them. */
export async function observe(trial: Trial, foreseen = foresee(trial)): Promise<Observed> {
  const { options, sides, passes, share } = trial;
  const { outcome, noiseFloor } = await firstRun(trial);
  const bits = await bitsOf(passes.whole, inBytes(options), share?.owns);
  // In one part of several: whoever joins them needs it once.
  const brokenTies = share === undefined || share.part === 1 ? passes.sides.flatMap((side) => side.brokenTies()) : [];
  const evidence = evidenceOf(trial, foreseen, { outcome, noiseFloor, bits, brokenTies });
  const laboratory = new Laboratory(trial);
  // A part cannot tell whether the whole of its run needs them.
  const isAsked = share !== undefined || isToBeExplained(evidence, noiseFloor);
  const known = isAsked ? await withoutKnown(sides, evidence, laboratory) : null;
  return { outcome, noiseFloor, foreseen, bits, brokenTies, evidence, known, laboratory };
}

export async function conclude(trial: Trial, observed: Observed): Promise<Judgement> {
  const { options, sides, passes } = trial;
  const { outcome, noiseFloor, evidence, known, laboratory } = observed;
  const settled = settle(evidence, known, {
    acceptances: acceptancesOf(options.acceptKnown),
    codes: codesOf(sides),
  });
  const { all, remaining, seen, findings } = settled;
  const failure = { trial, evidence, noise: noiseFloor, known, seen, remaining, laboratory };
  const { causes: explained, divergence } =
    remaining.length > 0
      ? await diagnose(failure)
      : all.length > 0
        ? resolved(failure)
        : { causes: [], divergence: firstDivergence(evidence) };
  const isUnknown =
    findings.length > 0 && explained.length === 0 && passes.goldenRun !== null && evidence.nonFinite === null;
  const search =
    isUnknown && options.search !== false
      ? await searchGolden(passes, evidence, outcome.comparison, known, { ...options, backend: trial.backend })
      : null;
  const causes = [...explained, ...(search?.causes ?? [])];
  const views = passes.sides.map(({ view }) => view);
  const steps =
    findings.length > 0 && causes.length === 0
      ? [
          ...(evidence.isByLayers ? [WITHOUT_LAYERS] : []),
          ...(await nextSteps(views, evidence, inBytes(options))),
          ...(search?.steps ?? []),
        ]
      : [];
  const judged = {
    ...{ evidence, noiseFloor, known, settled, search, causes, divergence },
    rows: outcome.comparison.rows(),
    nextTokens: outcome.nextTokens,
    routing: routingReport(
      options.routing ?? "free",
      outcome.routing.map(({ compared }) => compared),
    ),
    nextSteps: steps,
  };
  return judgementOf(judged, options.localise ?? false);
}

const WITHOUT_LAYERS =
  "run it once more without --by layers: known faults of the first layer that parts are then undone on trial";

interface FirstRun {
  readonly outcome: ForwardOutcome;
  readonly noiseFloor: NoiseFloor | null;
}

/** The passes as they were asked for, then what rounding alone makes of one of them. */
async function firstRun({ options, passes, backend, share }: Trial): Promise<FirstRun> {
  const { signal, onProgress } = options;
  const isNoisy = share?.measuresNoise ?? true;
  const noiseFlops = isNoisy ? passes.noiseFlops : 0;
  const outcome = await passes.run(backend, {
    ...options,
    onProgress: (event) => onProgress?.({ ...event, total: event.total + noiseFlops }),
  });
  if (!isNoisy) return { outcome, noiseFloor: null };
  const flops = passes.flops(outcome.plans);
  const noiseFloor = await passes.noise(backend, (done) => {
    signal?.throwIfAborted();
    onProgress?.({ label: "noise floor", done: flops + done, total: flops + noiseFlops, unit: "FLOP" });
  });
  return { outcome, noiseFloor };
}

export function foresee({ sides, passes, backend, cast }: Trial): Foreseen {
  const { whole } = passes;
  const plans = whole.plan(whole.forwards);
  const [a, b] = sides;
  return {
    plans,
    configDifferences: b === undefined ? [] : compareConfigs(a!.family, b.family).filter(hasEffect(passes.sides)),
    unusedTensors: whole.unused(plans),
    cast,
    exact: backend.capabilities.exact,
    golden: b === undefined,
    goldenTaps: passes.goldenTaps,
    goldenType: passes.goldenRounding?.type ?? null,
    isByLayers: passes.isByLayers,
    outlook: outlookOf(sides, whole, plans),
  };
}

function evidenceOf(
  { options, passes, share }: Trial,
  { outlook, goldenType: _, ...foreseen }: Foreseen,
  { outcome, noiseFloor, bits, brokenTies }: Pick<Observed, "outcome" | "noiseFloor" | "bits" | "brokenTies">,
): Evidence {
  const rows = outcome.comparison.rows();
  const isUnmeasured = share !== undefined && noiseFloor === null;
  return {
    ...foreseen,
    metrics: rows.metrics(),
    nonFinite: rows.notes.nonFinite,
    thresholds: isUnmeasured ? unmeasuredThresholds(options) : thresholds(options, noiseFloor),
    taps: outcome.taps,
    brokenTies,
    coverage: coverageOf(outlook, outcome.chosen, bits),
    goldenRounding: passes.goldenRounding,
  };
}

/** Whether a difference of configs changes what is computed: an untied head that equals the embedding does not. */
const hasEffect =
  ([a, b]: readonly SideWeights[]) =>
  ({ field }: ConfigDifference): boolean => {
    if (!/(?:^|\.)tie_word_embeddings$/.test(field)) return true;
    const isTied = ({ view }: SideWeights) => {
      const { tied, tie_word_embeddings = tied } = view.model.family.math();
      return tie_word_embeddings === true;
    };
    const [tied, other] = isTied(a!) ? [a!, b!] : [b!, a!];
    return !other.hasTiesOf(tied);
  };
