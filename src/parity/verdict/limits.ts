// How much may differ: the limits that were asked for, else what rounding explains.
import type { NoiseFloor } from "../noise.ts";

export interface Thresholds {
  /** Upper limit of the mean KL, in nats per token. */
  readonly klMeanNats: number;
  /** Lower limit of top-1 agreement. */
  readonly top1: number | null;
  readonly origin: "default" | "measured" | "given";
}

/** The default limit of the mean KL, in nats per token. */
const DEFAULT_MAX_KL_NATS = 1e-8;
/** The limit is at least so many times the mean KL that rounding alone was measured to make. */
const TIMES_NOISE = 10;
/** The largest limit that is measured. A model that amplifies rounding further needs --max-kl and a person who looks. */
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

/** In a part of a run that did not measure what rounding makes: beyond this, the whole of it fails whatever that is. */
export function unmeasuredThresholds(given: Parameters<typeof thresholds>[0]): Thresholds {
  const limits = thresholds(given, null);
  return limits.origin === "given" ? limits : { ...limits, klMeanNats: LARGEST_MEASURED_LIMIT };
}

/** Mean KL in nats per token that rounding logits to f32 leaves where both sides compute the same. */
const LARGEST_OF_ROUNDED_LOGITS = 1e-12;

/** Whether a mean KL, in nats per token, is more than rounding makes: below every limit it still has a reason. */
export const isBeyondNoise = (klMeanNats: number, noise: Pick<NoiseFloor, "klMeanNats"> | null): boolean =>
  klMeanNats > Math.max(LARGEST_OF_ROUNDED_LOGITS, TIMES_NOISE * (noise?.klMeanNats ?? 0));

/**
 * Relative error of a tap that rounding explains. Measured between native and HF graphs over all fixtures: at most 2e-15
 * in f64, 4e-9 where YaRN's frequencies are rounded to f32 in another order, 3e-7 where its factor is rounded on one side
 * only (gpt_oss), 6e-8 for logits, which are compared as f32;
 * 1e-6 in f32, over three layers. A pass of transformers in bf16 beside one in f32: 1.5 % of a tap after one layer, 3.0 % after
 * two (llama3), 2.2 % after three (qwen3); deep models are given more.
 */
const TAP_ROUNDING = { f64: 1e-6, f32: 3e-5, narrow: 0.1 };

/** @param exact whether the backend computes in f64 */
export function tapLimit(exact: boolean, recorded: RecordedTaps = null): number {
  if (recorded === "narrow") return TAP_ROUNDING.narrow;
  // Whoever recorded them computed in f32.
  return exact && recorded === null ? TAP_ROUNDING.f64 : TAP_ROUNDING.f32;
}

/** Whether a tap's error is more than rounding; one that is no number is. */
export const isBeyondTap = (relativeRms: number, limit: number): boolean => !(relativeRms <= limit);

/** Types of the hidden states beside a golden: F32, or such with few digits; null where it has none. */
export type RecordedTaps = "wide" | "narrow" | null;
