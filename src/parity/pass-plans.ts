// What the passes of a parity run need and come to, added up over its inputs.
import type { TapComparison } from "../../numerics/driver.ts";
import type { Forward } from "../../numerics/graph.ts";
import type { ForwardPlan } from "../../numerics/shapes/plan.ts";
import type { MeasuredTap } from "../../numerics/tap-sums.ts";
import { InputError } from "../base/errors.ts";
import type { ResolvedInputs } from "./inputs/resolved.ts";
import type { SideWeights } from "./side.ts";

/** @throws InputError ID_OUT_OF_RANGE, naming the file of the ids, and of several inputs which */
export function planOf(
  side: SideWeights,
  forward: Forward,
  { input, about }: ResolvedInputs,
  which: number | null,
): ForwardPlan {
  try {
    return side.plan(forward, input);
  } catch (error) {
    if (!(error instanceof InputError) || error.code !== "ID_OUT_OF_RANGE") throw error;
    const message = which === null ? error.message : `input ${which + 1}: ${error.message}`;
    const file = about.kind === "prompt" ? side.path : (about.source ?? side.path);
    throw new InputError(error.code, message, { ...error.details, file });
  }
}

export const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

export const flopsOf = (plans: readonly ForwardPlan[]): number => sum(plans.map(({ flops }) => flops));

/** The taps of one input, by its number among those of the run. */
export interface InputTaps {
  readonly prompt: number;
  readonly taps: readonly MeasuredTap[];
}

/** Each tap with its largest error over the inputs, in the order of the input that has most taps. */
export function worstTaps(inputs: readonly (readonly TapComparison[])[]): TapComparison[] {
  const longest = inputs.reduce((a, b) => (b.length > a.length ? b : a), []);
  return longest.map(({ tap }) => {
    const errors = inputs.flatMap((taps) => taps.filter((other) => other.tap === tap));
    return { tap, relativeRms: errors.reduce((most, { relativeRms: x }) => Math.max(most, x), 0) };
  });
}
