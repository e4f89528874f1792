// Runs of a failed parity with upstream's part in it changed: what is known of it undone, or another version of it.
import type { KnownDifference } from "../../../numerics/graph.ts";
import type { Metrics } from "../../../numerics/metrics.ts";
import { compareConfigs } from "../../family/config-differences.ts";
import type { UpstreamChange } from "../../family/upstream.ts";
import type { ParityModel } from "../side.ts";
import { changesOf, otherVersions } from "../versions.ts";
import { isBesideHf, type Laboratory, type MeasuredRun, type Rerun } from "./laboratory.ts";

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
  /** Of this machine, with the first of them undone, then with the second, too, … */
  readonly runs?: readonly MeasuredRun[];
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

/** Known differences of the native side. */
function knownOf(sides: readonly ParityModel[]): readonly KnownDifference[] {
  if (!isBesideHf(sides.map(({ layout }) => layout))) return [];
  return sides.flatMap(({ layout }) => (layout.side === "native" ? layout.differences() : []));
}

/**
 * Undoes, one after the other, the differences that upstream is known to have; null where there is none. The native side
 * is the one that is measured: the other is an HF side, or a golden.
 */
export async function withoutKnown(
  sides: readonly ParityModel[],
  before: Rerun,
  laboratory: Laboratory,
): Promise<WithoutKnown | null> {
  const shares: KnownShare[] = [];
  const runs: MeasuredRun[] = [];
  let without = before;
  for (const { undone, ...difference } of knownOf(sides)) {
    const after = await laboratory.measuredAs(undone);
    shares.push({ ...difference, klMeanNats: without.metrics.klMeanNats - after.metrics.klMeanNats });
    without = after;
    runs.push(after);
  }
  return shares.length > 0 ? { shares, runs, without } : null;
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
  laboratory: Laboratory,
): Promise<OtherVersion | null> {
  for (const { change, version, forward } of otherVersions(measured)) {
    const { metrics } = await laboratory.measuredAs(forward);
    if (metrics.klMeanNats <= limit) return { change, version, metrics };
  }
  return null;
}
