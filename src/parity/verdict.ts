// What the evidence of a parity run amounts to: findings, where the sides part, and why as far as it shows.

import type { TapComparison } from "../../numerics/driver.ts";
import type { Metrics, NonFinite } from "../../numerics/metrics.ts";
import type { ForwardPlan } from "../../numerics/shapes/plan.ts";
import type { Family } from "../family/adapter.ts";
import type { WithoutKnown } from "./experiments.ts";
import type { NoiseFloor } from "./noise.ts";
import type { WeightFault } from "./weights.ts";

export interface Thresholds {
  /** Upper limit of the mean KL, in nats per token. */
  readonly klMeanNats: number;
  /** Lower limit of top-1 agreement. */
  readonly top1: number | null;
  readonly origin: "default" | "measured" | "given";
}

/** The mean KL, in nats per token, that passes unless rounding alone makes as much. */
const DEFAULT_MAX_KL_NATS = 1e-8;
/** Where it does, the limit is so many times what it makes, */
const TIMES_NOISE = 10;
/** but no more than this: a model that amplifies rounding further needs --max-kl and a person who looks. */
const LARGEST_MEASURED_LIMIT = 1e-6;

/** The limits that were asked for, or the mean KL that follows from what rounding makes. */
export function thresholds(
  { maxKlNats, minTop1 }: { readonly maxKlNats?: number | undefined; readonly minTop1?: number | undefined },
  noise: Pick<NoiseFloor, "klMeanNats"> | null,
): Thresholds {
  const measured = Math.min(LARGEST_MEASURED_LIMIT, TIMES_NOISE * (noise?.klMeanNats ?? 0));
  const limit = Math.max(DEFAULT_MAX_KL_NATS, measured);
  const unlessGiven = limit > DEFAULT_MAX_KL_NATS ? "measured" : "default";
  return {
    klMeanNats: maxKlNats ?? limit,
    top1: minTop1 ?? null,
    origin: maxKlNats === undefined && minTop1 === undefined ? unlessGiven : "given",
  };
}

/** Of a mean KL in nats per token: what logits rounded to f32 leave of it where the sides compute the same. */
const LARGEST_OF_ROUNDED_LOGITS = 1e-12;

/** Whether a mean KL, in nats per token, is more than rounding makes: below every limit it still has a reason. */
export const isBeyondNoise = (klMeanNats: number, noise: Pick<NoiseFloor, "klMeanNats"> | null): boolean =>
  klMeanNats > Math.max(LARGEST_OF_ROUNDED_LOGITS, TIMES_NOISE * (noise?.klMeanNats ?? 0));

export interface Finding {
  readonly code: "KL" | "TOP1" | "NON_FINITE" | "MTP" | "UNUSED_TENSORS" | "TIE_BROKEN" | "CONFIG";
  readonly message: string;
}

export interface ConfigDifference {
  readonly field: string;
  readonly a: unknown;
  readonly b: unknown;
}

/** The first tap where the sides differ by more than rounding. Errors are relative, root mean square. */
export interface Divergence {
  readonly tap: string;
  /** What the step to this tap added. */
  readonly added: number;
  /** What it got from the tap before. */
  readonly inherited: number;
  /** Keys that the step read, of both sides. */
  readonly tensors: readonly string[];
}

export interface Cause {
  readonly code: string;
  readonly tensors: readonly string[];
  readonly fields: readonly string[];
  readonly explanation: string;
  readonly evidence: string;
  readonly fix: string;
}

export interface Evidence {
  readonly metrics: Metrics;
  readonly nonFinite: { readonly first: NonFinite; readonly positions: number } | null;
  readonly thresholds: Thresholds;
  readonly taps: readonly TapComparison[];
  readonly plans: readonly ForwardPlan[];
  readonly configDifferences: readonly ConfigDifference[];
  readonly unusedTensors: readonly string[];
  readonly brokenTies: readonly { readonly alias: string; readonly of: string }[];
  /** Whether the backend computes in f64. */
  readonly exact: boolean;
  /** Whether the reference was recorded. */
  readonly golden: boolean;
}

/**
 * Relative error of a tap that rounding explains. Measured between native and HF graphs over all fixtures: at most 2e-15
 * in f64, 4e-9 where YaRN's frequencies are rounded to f32 in another order, 3e-7 where its factor is rounded on one side
 * only (gpt_oss), 6e-8 for logits, which are compared as f32;
 * 1e-6 in f32, over three layers.
 */
const ROUNDING = { f64: 1e-6, f32: 3e-5 };

/** What is wrong; nothing means that every check held. */
export const find = (evidence: Evidence): readonly Finding[] => [...findings(evidence)];

function* findings({ metrics, nonFinite, thresholds, ...rest }: Evidence): Generator<Finding> {
  if (nonFinite) {
    const { side, token, value } = nonFinite.first;
    const where = `the ${side}'s logit of token ${token} at ${placeOf(nonFinite.first)} is ${value}`;
    const { positions } = nonFinite;
    const message = `${where}; ${positions} ${positions === 1 ? "position has" : "positions have"} such logits`;
    yield { code: "NON_FINITE", message };
  }
  if (!(metrics.klMeanNats <= thresholds.klMeanNats)) {
    const message = `mean KL ${metrics.klMeanNats.toExponential(2)} nats/token is above the limit of ${thresholds.klMeanNats.toExponential(2)}`;
    yield { code: "KL", message };
  }
  if (thresholds.top1 !== null && !(metrics.top1 >= thresholds.top1)) {
    yield { code: "TOP1", message: `top-1 agreement ${metrics.top1} is below the limit of ${thresholds.top1}` };
  }
  for (const { tap, relativeRms } of rest.taps.filter(isMtp)) {
    if (relativeRms <= (rest.exact ? ROUNDING.f64 : ROUNDING.f32)) continue;
    const message = `the hidden states of ${tap} (multi-token prediction) differ by ${relativeRms.toExponential(2)} of their size`;
    yield { code: "MTP", message };
  }
  if (rest.configDifferences.length > 0) {
    const fields = rest.configDifferences.map(({ field }) => field).join(", ");
    yield { code: "CONFIG", message: `the configs differ in what the forward pass computes: ${fields}` };
  }
  for (const { alias, of } of rest.brokenTies) {
    yield { code: "TIE_BROKEN", message: `the config ties "${alias}" to "${of}", but their bytes differ` };
  }
  if (rest.unusedTensors.length > 0) {
    yield {
      code: "UNUSED_TENSORS",
      message: `no step reads ${rest.unusedTensors.map((key) => `"${key}"`).join(", ")}`,
    };
  }
}

export function firstDivergence({ taps, plans, exact }: Evidence): Divergence | null {
  const limit = exact ? ROUNDING.f64 : ROUNDING.f32;
  const at = taps.findIndex(({ relativeRms }) => !(relativeRms <= limit));
  if (at < 0) return null;
  const { tap, relativeRms } = taps[at]!;
  const before = taps[at - 1];
  const inherited = before?.relativeRms ?? 0;
  const tensors = plans.flatMap((plan) => {
    const taps = plan.steps.map((step) => step.tap);
    const first = before === undefined ? 0 : taps.indexOf(before.tap) + 1;
    return plan.steps.slice(first, taps.indexOf(tap) + 1).flatMap((step) => step.weights);
  });
  return { tap, added: relativeRms - inherited, inherited, tensors: [...new Set(tensors)] };
}

/** What further runs showed. */
export interface Experiments {
  /** Known upstream differences and the metrics with them undone. */
  readonly known: WithoutKnown | null;
  /** Whether nothing is wrong with them undone. */
  readonly resolved: boolean;
  /** With the reference's config on both sides. */
  readonly sameConfig: Metrics | null;
  /** Weights of the first step that differs which are not those of the reference. */
  readonly weights: readonly WeightFault[];
}

/** The reason, where the evidence shows it; the most specific one first. */
export function explain(evidence: Evidence, experiments: Experiments): Cause | null {
  return (
    staleTie(evidence) ??
    configDiffers(evidence, experiments) ??
    knownUpstream(evidence, experiments) ??
    unused(evidence) ??
    notFinite(evidence, experiments) ??
    otherWeights(evidence, experiments)
  );
}

const placeOf = ({ prompt, position }: NonFinite): string =>
  prompt === undefined ? `position ${position}` : `position ${position} of input ${prompt + 1}`;

const scientific = (x: number): string => (x === 0 ? "0" : x.toExponential(2));

const nats = (metrics: Metrics): string => `${scientific(metrics.klMeanNats)} nats/token`;

const isMtp = ({ tap }: TapComparison): boolean => tap.startsWith("mtp.");

function staleTie({ brokenTies: [tie] }: Evidence): Cause | null {
  if (tie === undefined) return null;
  const { alias, of } = tie;
  return {
    code: "STALE_TIED_HEAD",
    tensors: [alias, of],
    fields: ["tie_word_embeddings"],
    explanation: `the config says that "${alias}" is "${of}", but another tensor is stored under that name`,
    evidence: "the bytes of the two tensors differ",
    fix: `set tie_word_embeddings to false if "${alias}" is the trained head, else remove it`,
  };
}

function configDiffers({ configDifferences, metrics }: Evidence, { sameConfig }: Experiments): Cause | null {
  if (configDifferences.length === 0) return null;
  const fields = configDifferences.map(({ field, a, b }) => `${field}: ${show(a)} against ${show(b)}`).join("; ");
  const rerun = sameConfig === null ? "" : `; with the reference's config on both sides it is ${nats(sameConfig)}`;
  return {
    code: "CONFIG_DIFFERS",
    tensors: [],
    fields: configDifferences.map(({ field }) => field),
    explanation: "the two sides' configs give different mathematics",
    evidence: `${fields}; mean KL is ${nats(metrics)}${rerun}`,
    fix: "give the side that is wrong the other's config (--config-a, --config-b) and compare again",
  };
}

function knownUpstream({ metrics, taps }: Evidence, { known, resolved }: Experiments): Cause | null {
  if (known === null || !resolved) return null;
  const { shares, without } = known;
  const { code, explanation, fix, klMeanNats } = shares.reduce((a, b) => (b.klMeanNats > a.klMeanNats ? b : a));
  const drafts = (of: readonly TapComparison[]) => scientific(Math.max(...of.filter(isMtp).map((t) => t.relativeRms)));
  const evidence =
    klMeanNats === 0 && taps.some(isMtp)
      ? `no logit of the model differs; hidden states of multi-token prediction do by ${drafts(taps)} of their size, and by ${drafts(without.taps)} with the difference undone`
      : `mean KL is ${nats(metrics)}, and ${nats(without.metrics)} with the difference undone`;
  return { code, tensors: [], fields: [], explanation, evidence, fix };
}

const FIXES: Readonly<Record<WeightFault["code"], string>> = {
  ROPE_PERMUTED:
    "permute the rows of queries and keys once, in heads of the config's head_dim, keys by their own number of heads",
  ROWS_REORDERED: "write rows, heads or experts in numerical order, none of them padded or left out",
  TENSORS_SWAPPED: "exchange the tensors: gate and up, keys and values, or experts, fit each other's places",
  TRANSPOSED: "transpose the tensor: square ones fit either way",
  ROUNDED: "keep the element type of this tensor",
  SCALED: "apply the tensor's scale once",
  OFFSET: "norms of this family store their weight less 1 on one side: add or take it once",
  WEIGHTS_DIFFER: "convert the checkpoint again with this tool, or find what else wrote this tensor",
};

function otherWeights({ metrics }: Evidence, { weights }: Experiments): Cause | null {
  const [first] = weights;
  if (first === undefined) return null;
  const alike = weights.filter(({ code }) => code === first.code);
  return {
    code: first.code,
    tensors: alike.map(({ key }) => key),
    fields: [],
    explanation: `"${first.key}" ${first.detail}`,
    evidence: `${alike.length} of the tensors that the first differing step reads are so; mean KL is ${nats(metrics)}`,
    fix: FIXES[first.code],
  };
}

function unused({ unusedTensors, metrics }: Evidence): Cause | null {
  if (unusedTensors.length === 0) return null;
  return {
    code: "UNUSED_TENSORS",
    tensors: unusedTensors,
    fields: [],
    explanation: "the checkpoint holds tensors that its config has no use for",
    evidence: `${unusedTensors.length} tensors are read by no step; mean KL is ${nats(metrics)}`,
    fix: "check the config: layers, biases or a head may be switched off in it",
  };
}

function notFinite({ nonFinite, metrics, golden }: Evidence, { weights }: Experiments): Cause | null {
  if (nonFinite === null) return null;
  const isRecorded = golden && nonFinite.first.side === "reference";
  const places = `${nonFinite.positions} of ${metrics.tokens} positions, the first at ${placeOf(nonFinite.first)}`;
  return {
    code: "NON_FINITE",
    tensors: weights.map(({ key }) => key),
    fields: [],
    explanation: `the ${nonFinite.first.side} ${isRecorded ? "holds" : "computes"} NaN or infinite logits`,
    evidence: [places, ...weights.slice(0, 1).map(({ key, detail }) => `"${key}" ${detail}`)].join("; "),
    fix: isRecorded
      ? "record the golden again, from a run whose logits are finite"
      : "run `validate` on that checkpoint, which names the tensors that are not finite",
  };
}

function show(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}…`;
}

/** Says how long an input may be, not what is computed. */
const NOT_COMPUTED = new Set(["maxPositions"]);

/** Fields of `math()` that the two configs give differently. */
export function compareConfigs(a: Family, b: Family): ConfigDifference[] {
  const [left, right] = [a.math(), b.math()];
  return [...new Set([...Object.keys(left), ...Object.keys(right)])]
    .filter((field) => !NOT_COMPUTED.has(field) && JSON.stringify(left[field]) !== JSON.stringify(right[field]))
    .map((field) => ({ field, a: left[field] ?? null, b: right[field] ?? null }));
}
