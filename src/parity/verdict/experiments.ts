// Further runs of a failed parity, each with one thing changed. What makes the difference go away explains it.
import type { TapComparison } from "../../../numerics/driver.ts";
import type { Forward, KnownDifference } from "../../../numerics/graph.ts";
import type { Metrics } from "../../../numerics/metrics.ts";
import type { ForwardPlan } from "../../../numerics/shapes/plan.ts";
import { InputError } from "../../base/errors.ts";
import { compareConfigs } from "../../family/config-differences.ts";
import { bound } from "../../family/family.ts";
import type { UpstreamChange } from "../../family/upstream.ts";
import type { ParityModel } from "../side.ts";
import { changesOf, otherVersions } from "../versions.ts";

/** What a run showed. */
export interface Rerun {
  readonly metrics: Metrics;
  readonly taps: readonly TapComparison[];
  /** Of the passes that it ran: a step with something undone may read other tensors. */
  readonly plans: readonly ForwardPlan[];
}

/** Runs the sides once more, with another forward pass of the one that is measured. */
export type RunAgain = (candidate: Forward) => Promise<Rerun>;

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

/** Whether a run of these sides may need another one, to find out why they differ. */
export function mayRunAgain(sides: readonly ParityModel[]): boolean {
  const [a, b] = sides;
  return (
    sides.some((side) => changesOf(side).length > 0) ||
    knownOf(sides).length > 0 ||
    (b !== undefined && compareConfigs(a!.family, b.family).length > 0)
  );
}

/** Known differences of the native side. Two native sides share them; HF sides have none. */
function knownOf(sides: readonly ParityModel[]): readonly KnownDifference[] {
  const [native, ...more] = sides.flatMap(({ layout }) => (layout.side === "native" ? [layout] : []));
  return native === undefined || more.length > 0 ? [] : native.differences();
}

/**
 * Undoes, one after the other, the differences that upstream is known to have; null where there is none. The native side
 * is the one that is measured: the other is an HF side, or a golden.
 */
export async function withoutKnown(
  sides: readonly ParityModel[],
  before: Rerun,
  rerun: RunAgain,
): Promise<WithoutKnown | null> {
  const shares: KnownShare[] = [];
  let without = before;
  for (const { undone, ...difference } of knownOf(sides)) {
    const after = await rerun(undone);
    shares.push({ ...difference, klMeanNats: without.metrics.klMeanNats - after.metrics.klMeanNats });
    without = after;
  }
  return shares.length > 0 ? { shares, without } : null;
}

export interface OtherVersion {
  readonly change: UpstreamChange;
  /** The version that makes the difference go away. */
  readonly version: string;
  readonly metrics: Metrics;
}

/** The change of upstream whose other side brings the mean KL to at most `limit`, in nats per token; null where none does. */
export async function withOtherVersion(
  measured: ParityModel,
  limit: number,
  rerun: RunAgain,
): Promise<OtherVersion | null> {
  for (const { change, version, forward } of otherVersions(measured)) {
    const { metrics } = await rerun(forward);
    if (metrics.klMeanNats <= limit) return { change, version, metrics };
  }
  return null;
}

/** Both sides at the reference's config; null where the other side's weights do not fit it. */
export async function withReferenceConfig(
  sides: readonly ParityModel[],
  reference: 0 | 1,
  rerun: RunAgain,
): Promise<Metrics | null> {
  const [right, other] = [sides[reference]!, sides[1 - reference]!];
  try {
    return (await rerun(bound(right.family, other.layout).forward())).metrics;
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}
