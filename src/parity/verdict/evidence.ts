// What the passes of a parity run showed. Findings, divergence and cause are derived from it.
import type { TapComparison } from "../../../numerics/driver.ts";
import type { Metrics, NonFinite } from "../../../numerics/metrics.ts";
import type { ForwardPlan } from "../../../numerics/shapes/plan.ts";
import type { ConfigDifference } from "../../faults/model/config-differs.ts";
import type { Coverage } from "../seen/coverage.ts";
import type { Thresholds } from "./limits.ts";

export interface Evidence {
  readonly metrics: Metrics;
  readonly nonFinite: { readonly first: NonFinite; readonly positions: number } | null;
  readonly thresholds: Thresholds;
  readonly taps: readonly TapComparison[];
  readonly plans: readonly ForwardPlan[];
  readonly configDifferences: readonly ConfigDifference[];
  readonly unusedTensors: readonly string[];
  readonly brokenTies: readonly { readonly alias: string; readonly of: string }[];
  readonly coverage: Coverage;
  /** Whether the backend computes in f64. */
  readonly exact: boolean;
  /** Whether the reference was recorded. */
  readonly golden: boolean;
}

/** Taps of layers that predict further tokens: no logit of the model shows them. */
export const isMtp = ({ tap }: TapComparison): boolean => tap.startsWith("mtp.");

export const placeOf = ({ prompt, position }: NonFinite): string =>
  prompt === undefined ? `position ${position}` : `position ${position} of input ${prompt + 1}`;
