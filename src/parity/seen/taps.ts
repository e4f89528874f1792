// The error of every tap: what a picture of it by layer shows.
import type { TapComparison } from "../../../numerics/driver.ts";

export interface TapError {
  readonly tap: string;
  /** Relative, root mean square. */
  readonly relativeRms: number;
  /** With known upstream differences undone; null where there are none. */
  readonly withoutKnown: number | null;
}

/** @param undone the taps of a run with known upstream differences undone, where there was one */
export function tapErrors(taps: readonly TapComparison[], undone: readonly TapComparison[] | undefined): TapError[] {
  const others = new Map(undone?.map(({ tap, relativeRms }) => [tap, relativeRms]));
  return taps.map(({ tap, relativeRms }) => ({ tap, relativeRms, withoutKnown: others.get(tap) ?? null }));
}
