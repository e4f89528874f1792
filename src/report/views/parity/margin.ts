// How far a run is from its limit, in words that need no exponents.
import type { ParityReport } from "../../../parity/parity.ts";
import { formatCount } from "../../units.ts";

/** `25,000 × below the limit`; null where there is no mean KL or no limit to set it against. */
export function marginText({ metrics: { klMeanNats }, thresholds: { klMeanNats: limit } }: MarginOf): string | null {
  if (!Number.isFinite(klMeanNats) || !(limit > 0)) return null;
  if (klMeanNats <= 0) return "No difference on this input: the mean KL is 0";
  const isBelow = klMeanNats <= limit;
  return `${times(isBelow ? limit / klMeanNats : klMeanNats / limit)} × ${isBelow ? "below" : "above"} the limit`;
}

type MarginOf = {
  readonly metrics: Pick<ParityReport["metrics"], "klMeanNats">;
  readonly thresholds: Pick<ParityReport["thresholds"], "klMeanNats">;
};

/** Two digits: more would claim what the limit does not hold. */
function times(factor: number): string {
  const rounded = Number(factor.toPrecision(2));
  if (rounded < 1e6) return formatCount(rounded);
  const [size, word] = rounded < 1e9 ? ([1e6, "million"] as const) : ([1e9, "billion"] as const);
  return `${formatCount(Number((rounded / size).toPrecision(2)))} ${word}`;
}
