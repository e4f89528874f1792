// A difference below the limit that rounding does not explain: it passes, and is told with its place.
import type { NoiseFloor } from "../noise.ts";
import type { Evidence } from "./evidence.ts";
import { isBeyondNoise } from "./limits.ts";

export interface BeyondRounding {
  /** With known upstream differences undone. */
  readonly klMeanNats: number;
  /** The step that adds most to the error of hidden states, and what it read of weights that differ in bits. */
  readonly tap: string;
  readonly added: number;
  readonly tensors: readonly string[];
}

/** @param evidence with known upstream differences undone */
export function beyondRounding(
  { plans, coverage, metrics, taps }: Evidence,
  noise: NoiseFloor | null,
): BeyondRounding | null {
  if (!isBeyondNoise(metrics.klMeanNats, noise) || taps.length === 0) return null;
  const added = taps.map(({ relativeRms }, i) => relativeRms - (taps[i - 1]?.relativeRms ?? 0));
  const at = added.indexOf(Math.max(...added));
  const { tap } = taps[at]!;
  const read = new Set(
    plans.flatMap(({ steps }) => steps.filter((step) => step.tap === tap).flatMap((s) => s.weights)),
  );
  const tensors = (coverage.weights?.different ?? []).flatMap(({ key }) => (read.has(key) ? [key] : []));
  return { klMeanNats: metrics.klMeanNats, tap, added: added[at]!, tensors };
}
