// What forward passes are asked, and what they came to.
import type { ForwardObserver, TapComparison } from "../../../numerics/driver.ts";
import type { Forward, ForwardInput } from "../../../numerics/graph.ts";
import type { LogitComparison } from "../../../numerics/metrics.ts";
import type { ForwardPlan } from "../../../numerics/shapes/plan.ts";
import type { MeasuredTap } from "../../../numerics/tap-sums.ts";
import type { LogitFile } from "../../output/logits.ts";
import type { NextTokens } from "../next-tokens.ts";
import type { InputTaps } from "../pass-plans.ts";
import type { Recording } from "../recording.ts";
import type { RoutingComparison } from "../routing.ts";
import type { Chosen, PassChoice } from "../seen/chosen.ts";

export interface ForwardOptions {
  /** Path for the logits that the metrics are computed from. */
  readonly saveLogits?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((event: ForwardProgress) => void) | undefined;
}

export interface ForwardProgress {
  readonly label: string;
  readonly done: number;
  readonly total: number;
  /** Bytes, of weights that are compared, unless given. */
  readonly unit?: "FLOP";
}

export interface ForwardOutcome {
  readonly comparison: LogitComparison;
  /** Of two sides, the logits as the last tap. */
  readonly taps: readonly TapComparison[];
  /** The same of each input, in sums that those of other parts of a run add to. */
  readonly measured: readonly InputTaps[];
  /** Of the sides on the first input, then on the second, … */
  readonly plans: readonly ForwardPlan[];
  readonly routing: readonly RoutingOfInput[];
  /** Experts that some token of some input chose, of each side that ran. */
  readonly chosen: Chosen;
  /** Behind the last input. */
  readonly nextTokens: NextTokens;
}

/** What tokens of one input chose. */
export interface RoutingOfInput {
  readonly prompt: number;
  readonly compared: RoutingComparison;
  /** Experts that some token chose, on the first side. */
  readonly used: readonly number[];
}

export interface Running {
  readonly forwards: readonly Forward[];
  /** Indices of the sides that run; of the others there is a golden or a recording. */
  readonly running: readonly number[];
  /** Of the reference on each input: filled where it runs. */
  readonly recordings: readonly Recording[] | null;
}

export interface PassWork {
  readonly input: ForwardInput;
  /** Indices of the sides that run, and the plan of each. */
  readonly running: readonly number[];
  readonly plans: readonly ForwardPlan[];
  /** Of the reference, filled where it runs. */
  readonly recording: Recording | null;
  readonly forwards: readonly Forward[];
  /** Which of the inputs it is. */
  readonly at: number;
  readonly comparison: LogitComparison;
  readonly file: LogitFile | null;
  readonly progress: NonNullable<ForwardObserver["progress"]>;
  readonly signal: AbortSignal | undefined;
}

export interface Pass extends Pick<ForwardOutcome, "routing" | "nextTokens"> {
  readonly taps: readonly MeasuredTap[];
  readonly choices: readonly PassChoice[];
}

/** @param before FLOPs of the inputs before this one; the driver counts anew for each */
export function progressOf({ signal, onProgress }: ForwardOptions, before: number, total: number) {
  return ({ tap, flops }: { readonly tap: string; readonly flops: number }): void => {
    signal?.throwIfAborted();
    onProgress?.({ label: tap, done: before + flops, total, unit: "FLOP" });
  };
}
