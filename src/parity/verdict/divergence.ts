// Where two forward passes part.
import type { Evidence } from "./evidence.ts";
import { isBeyondTap, tapLimit } from "./limits.ts";

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

export function firstDivergence({ taps, plans, exact, goldenTaps, isByLayers }: Evidence): Divergence | null {
  const limit = tapLimit(exact, goldenTaps);
  const at = taps.findIndex(({ relativeRms }) => isBeyondTap(relativeRms, limit));
  if (at < 0) return null;
  const { tap, relativeRms } = taps[at]!;
  const before = taps[at - 1];
  const inherited = isByLayers ? 0 : (before?.relativeRms ?? 0);
  const tensors = plans.flatMap((plan) => {
    const taps = plan.steps.map((step) => step.tap);
    const first = before === undefined ? 0 : taps.indexOf(before.tap) + 1;
    return plan.steps.slice(first, taps.indexOf(tap) + 1).flatMap((step) => step.weights);
  });
  return { tap, added: relativeRms - inherited, inherited, tensors: [...new Set(tensors)] };
}
