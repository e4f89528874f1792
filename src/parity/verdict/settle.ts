// What a run showed, held against the limits: pass or fail, with what is known of upstream taken into account.
import type { Acceptance } from "../choices.ts";
import type { NoiseFloor } from "../noise.ts";
import { type AcceptedShare, acceptedShares, isRefused, type KnownCodes } from "./accepted.ts";
import type { Evidence } from "./evidence.ts";
import type { WithoutKnown } from "./experiments.ts";
import { type Finding, find } from "./findings.ts";
import { isBeyondNoise } from "./limits.ts";

export interface Settled {
  /** With known upstream differences undone. */
  readonly seen: Evidence;
  /** Everything that is wrong, and what of it is left with known upstream differences undone. */
  readonly all: readonly Finding[];
  readonly remaining: readonly Finding[];
  /** What counts: one of the two. */
  readonly findings: readonly Finding[];
  readonly shares: readonly AcceptedShare[];
  /** Whether it passes only because known differences are accepted. */
  readonly isAccepted: boolean;
}

export interface Accepted {
  readonly acceptances: readonly Acceptance[];
  readonly codes: KnownCodes;
}

export function settle(evidence: Evidence, known: WithoutKnown | null, { acceptances, codes }: Accepted): Settled {
  const all = find(evidence);
  // Behind what upstream is known to compute otherwise: its taps differ from the first such step on, and hide the rest.
  const seen = known === null ? evidence : { ...evidence, ...known.without };
  const remaining = known === null ? all : find(seen);
  const shares = known === null ? [] : acceptedShares(known.shares, acceptances, codes);
  const showsInMtp = all.some(isOfMtp) && !remaining.some(isOfMtp);
  const isKept = isRefused(shares, evidence.thresholds.klMeanNats, showsInMtp, codes);
  const findings = acceptances.length > 0 && !isKept ? remaining : all;
  return { seen, all, remaining, findings, shares, isAccepted: findings.length === 0 && all.length > 0 };
}

const isOfMtp = ({ code }: Finding): boolean => code === "MTP";

/** Whether logits or hidden states differ by more than rounding explains, even if by less than the limits. */
export function isToBeExplained(evidence: Evidence, noise: NoiseFloor | null): boolean {
  const differs = find(evidence).some(({ code }) => SHOWN_BY_RUNNING.has(code));
  return differs || isBeyondNoise(evidence.metrics.klMeanNats, noise);
}

const SHOWN_BY_RUNNING: ReadonlySet<Finding["code"]> = new Set(["KL", "TOP1", "MTP", "LAYERS"]);
