// What upstream computes otherwise: its words, its mend and its undoing come from the family.

import type { TapComparison } from "../../../../numerics/driver.ts";
import type { Cause } from "../../../faults/cause.ts";
import { scientific } from "../../checks/check.ts";
import { isMtp } from "../evidence.ts";
import { withOtherVersion } from "../experiments.ts";
import { type Case, nats } from "./cause.ts";

/** Where nothing is wrong with known differences undone. */
export function knownUpstream({
  evidence: { metrics, taps },
  known,
  remaining,
}: Pick<Case, "evidence" | "known" | "remaining">): Cause[] {
  if (known === null || remaining.length > 0) return [];
  const { shares, without } = known;
  const { code, explanation, fix, klMeanNats } = shares.reduce((a, b) => (b.klMeanNats > a.klMeanNats ? b : a));
  const drafts = (of: readonly TapComparison[]) =>
    scientific(Math.max(...of.filter(isMtp).map(({ relativeRms }) => relativeRms)));
  const evidence =
    klMeanNats === 0 && taps.some(isMtp)
      ? `no logit of the model differs; hidden states of multi-token prediction do by ${drafts(taps)} of their size, and by ${drafts(without.taps)} with the difference undone`
      : `mean KL is ${nats(metrics)}, and ${nats(without.metrics)} with the difference undone`;
  return [{ code, tensors: [], fields: [], explanation, evidence, fix }];
}

/** Where versions of upstream disagree, and another one makes the difference go away. */
export async function otherUpstream({ evidence, trial, laboratory }: Case): Promise<Cause[]> {
  const { sides, passes } = trial;
  const measured = sides[sides.length === 1 ? 0 : 1 - passes.reference]!;
  const other = await withOtherVersion(measured, evidence.thresholds.klMeanNats, laboratory);
  if (other === null) return [];
  const { code, project, before, after, lastBefore } = other.change;
  return [
    {
      code,
      tensors: [],
      fields: [],
      explanation: `versions of ${project} disagree: up to ${lastBefore} it ${before}, then it ${after}`,
      evidence: `mean KL is ${nats(evidence.metrics)}, and ${nats(other.metrics)} as ${project} ${other.version} computes it`,
      fix: `if that version is meant, say so: --upstream ${project}=${other.version}`,
    },
  ];
}
