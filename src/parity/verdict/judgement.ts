// What a comparison came to, as reports tell it.
import type { LogitRows } from "../../../numerics/logit-rows.ts";
import type { Metrics, NonFinite, Positions, PromptMetrics } from "../../../numerics/metrics.ts";
import type { LogitSample } from "../../../numerics/pictured.ts";
import type { ConfigDifference } from "../../family/config-differences.ts";
import type { Cause } from "../../faults/cause.ts";
import type { SideCast } from "../casts.ts";
import { checksOf } from "../checks/all.ts";
import type { ParityCheck } from "../checks/check.ts";
import type { SideConfigs } from "../configs.ts";
import type { Tried } from "../hypotheses/search.ts";
import type { GoldenRounding } from "../inputs/golden.ts";
import type { NextTokens } from "../next-tokens.ts";
import type { NoiseFloor } from "../noise.ts";
import type { RoutingReport } from "../routing.ts";
import type { WeightBits } from "../seen/bits.ts";
import type { ExpertUse } from "../seen/experts.ts";
import { type TapError, tapErrors } from "../seen/taps.ts";
import { type BeyondRounding, beyondRounding } from "./beyond-rounding.ts";
import type { Divergence } from "./divergence.ts";
import { type Evidence, isCastAlone } from "./evidence.ts";
import type { WithoutKnown } from "./experiments.ts";
import type { Finding } from "./findings.ts";
import { type Thresholds, tapLimit } from "./limits.ts";
import type { Settled } from "./settle.ts";

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

/** What a judgement is made of. */
export interface Judged {
  readonly evidence: Evidence;
  readonly noiseFloor: NoiseFloor | null;
  readonly known: WithoutKnown | null;
  readonly settled: Settled;
  readonly rows: LogitRows;
  readonly nextTokens: NextTokens;
  readonly routing: RoutingReport | null;
  readonly divergence: Divergence | null;
  readonly causes: readonly Cause[];
  readonly search: { readonly hypotheses: readonly Tried[]; readonly untried: number } | null;
  readonly nextSteps: readonly string[];
}

export function judgementOf(of: Judged, localise: boolean): Judgement {
  const { evidence, noiseFloor, known, settled, rows, search, causes } = of;
  const { findings, remaining, shares, seen, isAccepted } = settled;
  const [cause = null] = causes;
  return {
    verdict: findings.length === 0 ? "pass" : "fail",
    verdictWithoutKnown: remaining.length === 0 ? "pass" : "fail",
    knownDifferences: shares.map(({ code, klMeanNats, source, accepted, reason }) => ({
      ...{ code, klMeanNats, source, accepted, reason },
    })),
    klMeanNatsWithoutKnown: known?.without.metrics.klMeanNats ?? null,
    metrics: evidence.metrics,
    positions: rows.positions(evidence.thresholds.klMeanNats),
    logits: rows.notes.sample,
    prompts: rows.prompts(),
    nextTokens: of.nextTokens,
    nonFinite: evidence.nonFinite,
    thresholds: evidence.thresholds,
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
    routing: of.routing,
    firstDivergence: findings.length > 0 || localise ? of.divergence : null,
    beyondRounding: findings.length > 0 ? null : beyondRounding(seen, noiseFloor),
    cause,
    causes,
    hypotheses: search?.hypotheses ?? [],
    untried: search?.untried ?? 0,
    nextSteps: of.nextSteps,
  };
}
