// Which known differences between upstreams may stand: those named, and those that are measured to be small.
import { UsageError } from "../../base/errors.ts";
import type { KnownCode } from "../../family/known.ts";
import type { Acceptance } from "../choices.ts";
import type { ParityModel } from "../side.ts";
import type { KnownShare } from "./experiments.ts";

/** What a share comes to beside the acceptances. */
export interface AcceptedShare extends KnownShare {
  readonly accepted: boolean;
  /** What would let it pass, where it is not. */
  readonly reason: string | null;
}

/** Rounding in the sums that a share is the difference of. */
const SLACK = 1e-12;

export function acceptancesOf(asked: boolean | readonly Acceptance[] | undefined): readonly Acceptance[] {
  return asked === true ? [{ code: null }] : asked === undefined || asked === false ? [] : asked;
}

/** Known differences by their codes, and the KL that some are measured to be at most. */
export type KnownCodes = ReadonlyMap<string, Pick<KnownCode, "smallKlNats">>;

export const codesOf = (sides: readonly ParityModel[]): KnownCodes =>
  new Map(
    sides.flatMap(({ family, layout }) => [
      ...(layout.side === "native" ? layout.differences().map(({ code }) => [code, {}] as const) : []),
      ...(family.known ?? []).map((each) => [each.code, each] as const),
    ]),
  );

/** @throws UsageError ACCEPT_KNOWN_CODE for a code that the family has not */
export function checkCodes(acceptances: readonly Acceptance[], sides: readonly ParityModel[]): void {
  const codes = codesOf(sides);
  for (const { code } of acceptances) {
    if (code === null || codes.has(code)) continue;
    const family = sides[0]!.family.family;
    const list = [...codes.keys()].toSorted().join(", ") || "none";
    throw new UsageError(
      "ACCEPT_KNOWN_CODE",
      `--accept-known=${code}: ${family} has no known difference of that code`,
      {
        expected: list,
        found: code,
        help: `the codes of ${family} are: ${list}`,
      },
    );
  }
}

/** Every share, and whether it may stand. */
export function acceptedShares(
  shares: readonly KnownShare[],
  acceptances: readonly Acceptance[],
  codes: KnownCodes,
): AcceptedShare[] {
  return shares.map((share) => {
    const reason = refusal(share, acceptances, codes.get(share.code)?.smallKlNats);
    return { ...share, accepted: reason === null, reason };
  });
}

function refusal(
  { code, klMeanNats }: KnownShare,
  acceptances: readonly Acceptance[],
  small: number | undefined,
): string | null {
  const named = acceptances.find((each) => each.code === code);
  if (named !== undefined) {
    const most = named.klNats ?? Number.POSITIVE_INFINITY;
    return klMeanNats <= most + SLACK
      ? null
      : `${code} moves the mean KL by ${klMeanNats.toExponential(2)}, more than the ${most.toExponential(2)} accepted`;
  }
  const byName = `--accept-known=${code} lets it pass`;
  if (small === undefined) return `${code} makes another model and is accepted by name alone: ${byName}`;
  if (klMeanNats > small + SLACK) {
    return `${code} moves the mean KL by ${klMeanNats.toExponential(2)}, more than the ${small.toExponential(2)} it was measured at: ${byName}`;
  }
  return acceptances.some((each) => each.code === null) ? null : `--accept-known lets ${code} pass`;
}

/**
 * Whether shares that are not accepted matter: they move the mean KL by more than the limit, or a difference that moves no
 * logit shows elsewhere.
 */
export function isRefused(
  shares: readonly AcceptedShare[],
  limit: number,
  showsInMtp: boolean,
  codes: KnownCodes,
): boolean {
  const refused = shares.filter(({ accepted }) => !accepted);
  const moved = refused.reduce((sum, { klMeanNats }) => sum + Math.max(0, klMeanNats), 0);
  return moved > limit || (showsInMtp && refused.some(({ code }) => codes.get(code)?.smallKlNats === 0));
}
