// What the evidence of a parity run amounts to: findings, where the sides part, and why as far as it shows.
import type { Family } from "../../adapters/adapter.ts";
import type { TapComparison } from "../../numerics/driver.ts";
import type { Metrics, NonFinite } from "../../numerics/metrics.ts";
import type { ForwardPlan } from "../../numerics/shapes/plan.ts";

export interface Thresholds {
  /** Upper limit of the mean KL, in nats per token. */
  readonly klMeanNats: number;
  /** Lower limit of top-1 agreement. */
  readonly top1: number | null;
  readonly origin: "default" | "measured" | "given";
}

export interface Finding {
  readonly code: "KL" | "TOP1" | "NON_FINITE" | "UNUSED_TENSORS" | "TIE_BROKEN" | "CONFIG";
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
  /** Asks for the first divergence whatever the verdict. */
  readonly localise: boolean;
}

/**
 * Relative error of a tap that rounding explains. Measured between native and HF graphs over all fixtures: at most
 * 3e-8 in f64 (RoPE frequencies, which each upstream rounds to f32 in its own order) and 2e-6 in f32.
 */
const ROUNDING = { f64: 1e-6, f32: 3e-5 };

export function judge(evidence: Evidence): {
  readonly findings: readonly Finding[];
  readonly firstDivergence: Divergence | null;
  readonly cause: Cause | null;
} {
  const findings = [...find(evidence)];
  const failed = findings.length > 0;
  return {
    findings,
    firstDivergence: failed || evidence.localise ? firstDivergence(evidence) : null,
    cause: failed ? explain(evidence) : null,
  };
}

function* find({ metrics, nonFinite, thresholds, ...rest }: Evidence): Generator<Finding> {
  if (nonFinite) {
    const { side, position, token, value } = nonFinite.first;
    const where = `the ${side}'s logit of token ${token} at position ${position} is ${value}`;
    yield { code: "NON_FINITE", message: `${where}; ${nonFinite.positions} positions have such logits` };
  }
  if (!(metrics.klMeanNats <= thresholds.klMeanNats)) {
    const message = `mean KL ${metrics.klMeanNats} nats/token is above the limit of ${thresholds.klMeanNats}`;
    yield { code: "KL", message };
  }
  if (thresholds.top1 !== null && !(metrics.top1 >= thresholds.top1)) {
    yield { code: "TOP1", message: `top-1 agreement ${metrics.top1} is below the limit of ${thresholds.top1}` };
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

function firstDivergence({ taps, plans, exact }: Evidence): Divergence | null {
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

/** The causes that the evidence itself names, the most specific one first. */
function explain({ brokenTies, configDifferences, unusedTensors, nonFinite, metrics }: Evidence): Cause | null {
  const kl = `mean KL ${metrics.klMeanNats} nats/token`;
  const [tie] = brokenTies;
  if (tie) {
    return {
      code: "STALE_TIED_HEAD",
      tensors: [tie.alias, tie.of],
      fields: ["tie_word_embeddings"],
      explanation: `the config says that "${tie.alias}" is "${tie.of}", but the file holds another tensor under that name`,
      evidence: "the bytes of the two tensors differ",
      fix: `set tie_word_embeddings to false if "${tie.alias}" is the trained head, else remove it`,
    };
  }
  if (configDifferences.length > 0) {
    return {
      code: "CONFIG_DIFFERS",
      tensors: [],
      fields: configDifferences.map(({ field }) => field),
      explanation: "the two sides' configs give different mathematics",
      evidence: configDifferences.map(({ field, a, b }) => `${field}: ${show(a)} against ${show(b)}`).join("; "),
      fix: "give the side that is wrong the other's config (--config-a, --config-b) and compare again",
    };
  }
  if (unusedTensors.length > 0) {
    return {
      code: "UNUSED_TENSORS",
      tensors: unusedTensors,
      fields: [],
      explanation: "the checkpoint holds tensors that its config has no use for",
      evidence: `${unusedTensors.length} tensors are read by no step; ${kl}`,
      fix: "check the config: layers, biases or a head may be switched off in it",
    };
  }
  if (nonFinite) {
    return {
      code: "NON_FINITE",
      tensors: [],
      fields: [],
      explanation: `the ${nonFinite.first.side} computes NaN or infinite logits`,
      evidence: `${nonFinite.positions} of ${metrics.tokens} positions, first position ${nonFinite.first.position}`,
      fix: "run `validate` on that checkpoint, which names the tensors that are not finite",
    };
  }
  return null;
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
