// Runs the passes, and tells from them what is wrong, where and why.
import type { Metrics, NonFinite, Positions, PromptMetrics } from "../../../numerics/metrics.ts";
import type { LogitSample } from "../../../numerics/pictured.ts";
import { type ConfigDifference, compareConfigs } from "../../family/config-differences.ts";
import type { Cause } from "../../faults/cause.ts";
import type { SideCast } from "../casts.ts";
import { checksOf } from "../checks/all.ts";
import type { ParityCheck } from "../checks/check.ts";
import type { SideConfigs } from "../configs.ts";
import { searchGolden } from "../hypotheses/cause.ts";
import type { Tried } from "../hypotheses/search.ts";
import type { GoldenRounding } from "../inputs/golden.ts";
import type { NextTokens } from "../next-tokens.ts";
import type { NoiseFloor } from "../noise.ts";
import { flopsOf } from "../pass-plans.ts";
import type { ForwardOutcome } from "../passes.ts";
import { type RoutingReport, routingReport } from "../routing.ts";
import type { WeightBits } from "../seen/bits.ts";
import { coverageOf } from "../seen/coverage.ts";
import type { ExpertUse } from "../seen/experts.ts";
import { type TapError, tapErrors } from "../seen/taps.ts";
import type { SideWeights } from "../side.ts";
import { acceptancesOf, acceptedShares, isRefused } from "./accepted.ts";
import { type BeyondRounding, beyondRounding } from "./beyond-rounding.ts";
import { diagnose, resolved } from "./diagnosis.ts";
import { type Divergence, firstDivergence } from "./divergence.ts";
import { type Evidence, isCastAlone } from "./evidence.ts";
import { withoutKnown } from "./experiments.ts";
import { type Finding, find } from "./findings.ts";
import { Laboratory } from "./laboratory.ts";
import { isBeyondNoise, type Thresholds, tapLimit, thresholds } from "./limits.ts";
import { nextSteps } from "./next-steps.ts";
import { inBytes, type Trial } from "./trial.ts";

/** What the comparison came to. */
export interface Judgement {
  readonly verdict: "pass" | "fail";
  readonly verdictWithoutKnown: "pass" | "fail";
  /** Those that this config has, where the sides differ by more than rounding; each with its share of the mean KL. */
  readonly knownDifferences: readonly {
    readonly code: string;
    readonly klMeanNats: number;
    readonly source: string;
    readonly accepted: boolean;
    /** What would let it pass, or why it does not; null where it is accepted. */
    readonly reason: string | null;
  }[];
  /** The mean KL with all of them undone; null where there are none. */
  readonly klMeanNatsWithoutKnown: number | null;
  readonly metrics: Metrics;
  readonly positions: Positions;
  /** A few logits of both sides. */
  readonly logits: LogitSample;
  /** The error of every tap; empty beside a golden. */
  readonly taps: readonly TapError[];
  /** A tap's error up to here is rounding. */
  readonly tapLimit: number;
  /** Each input on its own. */
  readonly prompts: readonly PromptMetrics[];
  readonly nextTokens: NextTokens;
  readonly nonFinite: { readonly first: NonFinite; readonly positions: number } | null;
  readonly thresholds: Thresholds;
  /** What rounding alone does on this backend. */
  readonly noiseFloor: NoiseFloor | null;
  /** Everything that was looked at, and what could not be. */
  readonly checks: readonly ParityCheck[];
  /** Why the verdict is `fail`; empty for `pass`. */
  readonly findings: readonly Finding[];
  readonly configDifferences: readonly ConfigDifference[];
  /** Where the golden was computed in a narrower type than F32. */
  readonly goldenRounding: GoldenRounding | null;
  /** Where the sides have other types; exact where each weight of one is the other's, cast. */
  readonly cast: (SideCast & { readonly exact: boolean }) | null;
  readonly unusedTensors: readonly string[];
  /** Tensors that this input leaves out and another would not: a vision tower without images. */
  readonly unexercisedTensors: readonly string[];
  /** The file that each side's config was read from. */
  readonly configs: SideConfigs;
  /** Both sides' weights bit for bit, in Hugging Face's keys and dims; null for a golden. */
  readonly weights: WeightBits | null;
  /** Experts that no token chose; null for a model without mixtures of experts. */
  readonly experts: ExpertUse | null;
  readonly routing: RoutingReport | null;
  readonly firstDivergence: Divergence | null;
  /** What passes and is more than rounding makes; null where it is not. */
  readonly beyondRounding: BeyondRounding | null;
  /** The first of `causes`. */
  readonly cause: Cause | null;
  /** Everything that was found to be wrong: what explains the difference of the logits first. */
  readonly causes: readonly Cause[];
  /** Beside a golden, where nothing else explains it: known faults undone on trial, and what each left. */
  readonly hypotheses: readonly Tried[];
  /** Hypotheses that there was no time for. */
  readonly untried: number;
  /** What to try where a failed run has no cause. */
  readonly nextSteps: readonly string[];
}

/** Runs the forward passes, and where they differ runs them again in search of the reason. */
export async function judge(trial: Trial): Promise<Judgement> {
  const { options, sides, passes } = trial;
  const { outcome, noiseFloor } = await firstRun(trial);
  const evidence = await evidenceOf(trial, outcome, noiseFloor);
  const laboratory = new Laboratory(trial);
  const all = find(evidence);
  const known = isToBeExplained(all, evidence, noiseFloor) ? await withoutKnown(sides, evidence, laboratory) : null;
  // Behind what upstream is known to compute otherwise: its taps differ from the first such step on, and hide the rest.
  const seen = known === null ? evidence : { ...evidence, ...known.without };
  const remaining = known === null ? all : find(seen);
  const acceptances = acceptancesOf(options.acceptKnown);
  const shares = known === null ? [] : acceptedShares(known.shares, acceptances, sides);
  const showsInMtp = all.some(isOfMtp) && !remaining.some(isOfMtp);
  const isKept = isRefused(shares, evidence.thresholds.klMeanNats, showsInMtp, sides);
  const findings = acceptances.length > 0 && !isKept ? remaining : all;
  const isAccepted = findings.length === 0 && all.length > 0;
  const failure = { trial, evidence, noise: noiseFloor, known, seen, remaining, laboratory };
  const { causes: explained, divergence } =
    remaining.length > 0
      ? await diagnose(failure)
      : all.length > 0
        ? resolved(failure)
        : { causes: [], divergence: firstDivergence(evidence) };
  const isUnknown =
    findings.length > 0 && explained.length === 0 && passes.goldenRun !== null && evidence.nonFinite === null;
  const search = isUnknown
    ? await searchGolden(passes, evidence, outcome.comparison, known, { ...options, backend: trial.backend })
    : null;
  const causes = [...explained, ...(search?.causes ?? [])];
  const [cause = null] = causes;
  const views = passes.sides.map(({ view }) => view);
  return {
    verdict: findings.length === 0 ? "pass" : "fail",
    verdictWithoutKnown: remaining.length === 0 ? "pass" : "fail",
    knownDifferences: shares.map(({ code, klMeanNats, source, accepted, reason }) => ({
      ...{ code, klMeanNats, source, accepted, reason },
    })),
    klMeanNatsWithoutKnown: known?.without.metrics.klMeanNats ?? null,
    ...measured(evidence, outcome),
    taps: tapErrors(evidence.taps, known?.without.taps),
    tapLimit: tapLimit(evidence.exact, evidence.goldenTaps),
    noiseFloor,
    checks: checksOf({ evidence, findings, known, remaining, isAccepted }),
    findings,
    configDifferences: evidence.configDifferences,
    unusedTensors: evidence.unusedTensors,
    unexercisedTensors: evidence.coverage.unexercised,
    configs: evidence.coverage.configs,
    weights: evidence.coverage.weights,
    goldenRounding: evidence.goldenRounding,
    cast: evidence.cast && { ...evidence.cast, exact: isCastAlone(evidence) },
    experts: evidence.coverage.experts,
    routing: routingReport(options.routing ?? "free", outcome.routing),
    firstDivergence: findings.length > 0 || options.localise ? divergence : null,
    beyondRounding: findings.length > 0 ? null : beyondRounding(seen, noiseFloor),
    cause,
    causes,
    hypotheses: search?.hypotheses ?? [],
    untried: search?.untried ?? 0,
    nextSteps:
      findings.length > 0 && cause === null
        ? [...(await nextSteps(views, evidence, inBytes(options))), ...(search?.steps ?? [])]
        : [],
  };
}

const isOfMtp = ({ code }: Finding): boolean => code === "MTP";

const measured = ({ metrics, nonFinite, thresholds }: Evidence, { comparison, nextTokens }: ForwardOutcome) => ({
  metrics,
  positions: comparison.positions(thresholds.klMeanNats),
  logits: comparison.sample(),
  prompts: comparison.prompts(),
  nextTokens,
  nonFinite,
  thresholds,
});

interface FirstRun {
  readonly outcome: ForwardOutcome;
  readonly noiseFloor: NoiseFloor | null;
}

/** The passes as they were asked for, then what rounding alone makes of one of them. */
async function firstRun({ options, passes, backend }: Trial): Promise<FirstRun> {
  const { signal, onProgress } = options;
  const { noiseFlops } = passes;
  const outcome = await passes.run(backend, {
    ...options,
    onProgress: (event) => onProgress?.({ ...event, total: event.total + noiseFlops }),
  });
  const flops = flopsOf(outcome.plans);
  const noiseFloor = await passes.noise(backend, (done) => {
    signal?.throwIfAborted();
    onProgress?.({ label: "noise floor", done: flops + done, total: flops + noiseFlops, unit: "FLOP" });
  });
  return { outcome, noiseFloor };
}

/** Whether logits or hidden states differ by more than rounding explains, even if by less than the limits. */
function isToBeExplained(findings: readonly Finding[], { metrics }: Evidence, noise: NoiseFloor | null): boolean {
  const differs = findings.some(({ code }) => code === "KL" || code === "TOP1" || code === "MTP");
  return differs || isBeyondNoise(metrics.klMeanNats, noise);
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

async function evidenceOf(trial: Trial, outcome: ForwardOutcome, noise: NoiseFloor | null): Promise<Evidence> {
  const { options, passes, backend } = trial;
  const { comparison, taps, plans } = outcome;
  const [a, b] = trial.sides;
  return {
    metrics: comparison.metrics(),
    nonFinite: comparison.nonFinite(),
    thresholds: thresholds(options, noise),
    taps,
    plans,
    configDifferences: b === undefined ? [] : compareConfigs(a!.family, b.family).filter(hasEffect(passes.sides)),
    unusedTensors: passes.unused(plans),
    brokenTies: passes.sides.flatMap((side) => side.brokenTies()),
    coverage: await coverageOf(trial.sides, passes, outcome, inBytes(options)),
    cast: trial.cast,
    exact: backend.capabilities.exact,
    golden: b === undefined,
    goldenRounding: passes.goldenRounding,
    goldenTaps: passes.goldenTaps,
  };
}
