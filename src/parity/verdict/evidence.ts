// What the passes of a parity run showed. Findings, divergence and cause are derived from it.
import type { TapComparison } from "../../../numerics/driver.ts";
import type { Metrics, NonFinite } from "../../../numerics/metrics.ts";
import type { ConfigDifference } from "../../family/config-differences.ts";
import type { SideCast } from "../casts.ts";
import type { GoldenRounding } from "../inputs/golden.ts";
import type { Coverage } from "../seen/coverage.ts";
import type { RecordedTaps, Thresholds } from "./limits.ts";

/** A step of a pass, as far as reports tell of it. */
export interface StepReads {
  readonly tap: string;
  /** Keys. */
  readonly weights: readonly string[];
}

export interface PassReads {
  readonly steps: readonly StepReads[];
}

export interface Evidence {
  readonly metrics: Metrics;
  readonly nonFinite: { readonly first: NonFinite; readonly positions: number } | null;
  readonly thresholds: Thresholds;
  readonly taps: readonly TapComparison[];
  readonly plans: readonly PassReads[];
  readonly configDifferences: readonly ConfigDifference[];
  readonly unusedTensors: readonly string[];
  readonly brokenTies: readonly { readonly alias: string; readonly of: string }[];
  readonly coverage: Coverage;
  /** Null where both sides have the same types. */
  readonly cast: SideCast | null;
  /** Whether the backend computes in f64. */
  readonly exact: boolean;
  /** Whether the reference was recorded. */
  readonly golden: boolean;
  /** Of a golden that was computed in a narrow type. */
  readonly goldenRounding: GoldenRounding | null;
  /** Of a golden that has hidden states, too. */
  readonly goldenTaps?: RecordedTaps;
  /** Whether each step between recorded hidden states began with these, and inherited nothing. */
  readonly isByLayers: boolean;
}

/** Taps of layers that predict further tokens: no logit of the model shows them. */
export const isMtp = ({ tap }: TapComparison): boolean => tap.startsWith("mtp.");

export const placeOf = ({ prompt, position }: NonFinite): string =>
  prompt === undefined ? `position ${position}` : `position ${position} of input ${prompt + 1}`;

/** Whether each weight of b is a's, cast to its type: in the order of the sides, or the other way round. */
export function isCastAlone({ cast, coverage: { weights } }: Evidence): boolean {
  return cast !== null && weights !== null && weights.different.length === 0;
}
