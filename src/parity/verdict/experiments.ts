// Second runs of a parity that failed, with one thing changed: what makes the difference go away explains it.
import type { TapComparison } from "../../../numerics/driver.ts";
import type { Forward } from "../../../numerics/graph.ts";
import type { Metrics } from "../../../numerics/metrics.ts";
import { InputError } from "../../base/errors.ts";
import type { ParitySide } from "../side.ts";

/** What a run showed. */
export interface Rerun {
  readonly metrics: Metrics;
  readonly taps: readonly TapComparison[];
}

/** Runs the sides with other forward passes. */
export type RunAgain = (forwards: readonly Forward[]) => Promise<Rerun>;

export interface KnownShare {
  readonly code: string;
  /** What undoing it takes off the mean KL, in nats per token. */
  readonly klMeanNats: number;
  readonly source: string;
  readonly explanation: string;
  readonly fix: string;
}

export interface WithoutKnown {
  readonly shares: readonly KnownShare[];
  /** With all of them undone. */
  readonly without: Rerun;
}

/** Undoes, one after the other, the differences that upstream is known to have; null where there is none. */
export async function withoutKnown(
  sides: readonly ParitySide[],
  before: Rerun,
  rerun: RunAgain,
): Promise<WithoutKnown | null> {
  const at = sides.findIndex(({ layout }) => layout !== "hf");
  const { family, layout } = sides[at] ?? sides[0]!;
  // Two native sides have them in common.
  const known = sides.every((side) => side.layout !== "hf") && sides.length > 1 ? [] : family.knownDifferences(layout);
  const shares: KnownShare[] = [];
  let without = before;
  for (const { undone, ...difference } of known) {
    const after = await rerun(sides.map((side, i) => (i === at ? undone : side.family.forward(side.layout))));
    shares.push({ ...difference, klMeanNats: without.metrics.klMeanNats - after.metrics.klMeanNats });
    without = after;
  }
  return shares.length > 0 ? { shares, without } : null;
}

/** Both sides at the reference's config; null where the other side's weights do not fit it. */
export async function withReferenceConfig(
  sides: readonly ParitySide[],
  reference: 0 | 1,
  rerun: RunAgain,
): Promise<Metrics | null> {
  try {
    return (await rerun(sides.map(({ layout }) => sides[reference]!.family.forward(layout)))).metrics;
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}
