// Why the sides differ, and where. What hides the rest is undone first: what upstream is known to compute otherwise, then a
// cast, then the config. What is left after that is a matter of weights.

import type { Cause } from "../../faults/cause.ts";
import { castCause } from "./causes/cast.ts";
import { type Case, isAtFloor } from "./causes/cause.ts";
import { type ConfigStudy, configCauses, studyConfigs } from "./causes/config.ts";
import { notFinite, roundedGolden, staleTie, unused } from "./causes/model.ts";
import { knownUpstream, otherUpstream } from "./causes/upstream.ts";
import { weightCauses } from "./causes/weights.ts";
import { type Divergence, firstDivergence } from "./divergence.ts";
import { isCastAlone } from "./evidence.ts";
import type { Rerun } from "./laboratory.ts";

export interface Diagnosis {
  /** What explains the difference of the logits first. */
  readonly causes: readonly Cause[];
  readonly divergence: Divergence | null;
}

/** Nothing but what upstream is known to compute otherwise. */
export const resolved = (of: Case): Diagnosis => ({
  causes: [...staleTie(of), ...knownUpstream(of)],
  divergence: firstDivergence(of.evidence),
});

export async function diagnose(of: Case): Promise<Diagnosis> {
  const { evidence, laboratory, seen, noise, trial } = of;
  const isCast = evidence.cast !== null && !evidence.cast.asked;
  const rounded = isCast ? await laboratory.run({ inOneType: true }) : null;
  const uncast = rounded ?? seen;
  const study = await studyConfigs(of, uncast, rounded !== null);
  const rest = study?.after ?? uncast;
  const sides = rounded === null ? trial.passes.sides : laboratory.inOneType;
  const views = sides.map(({ view }) => view);
  const version = isAtFloor(rest.metrics, noise) ? [] : await otherUpstream(of);
  const weights = version.length > 0 ? [] : weightCauses(of, rest, views);
  const bad = await notFinite(of);
  const cast = rounded === null ? null : await castCause(of, rounded);
  const main = [
    ...(bad?.isInWeights ? [bad.cause, ...elsewhere(weights, bad.cause)] : weights),
    ...(bad && !bad.isInWeights ? [bad.cause] : []),
  ];
  const ordered = [...version, ...inOrder(configCauses(of, study), study, [...unused(of), ...main])];
  const isCastFirst = isCastAlone(evidence) && !study?.explains;
  const causes = cast === null ? ordered : isCastFirst ? [cast, ...ordered] : [...ordered, cast];
  return {
    causes: [...staleTie(of), ...causes, ...roundedGolden(of)],
    divergence: placeOf(of, uncast, ordered.length > 0),
  };
}

/** What of weights is told beside those that are no numbers. */
const elsewhere = (weights: readonly Cause[], { tensors }: Cause): Cause[] =>
  weights.filter((cause) => cause.tensors.some((key) => !tensors.includes(key)));

/** A config that explains the logits comes first, one that does not comes after what was found in the weights. */
function inOrder(configs: readonly Cause[], study: ConfigStudy | null, weights: readonly Cause[]): Cause[] {
  if (!study?.explains) return [...weights, ...configs];
  const [main, ...inert] = configs;
  return [...(main ? [main] : []), ...weights, ...inert];
}

/** With the cast undone, where something else is wrong: a cast differs from the first step on. */
function placeOf({ evidence, seen }: Case, uncast: Rerun, isOther: boolean): Divergence | null {
  const behind = isOther ? firstDivergence({ ...evidence, ...uncast }) : null;
  return behind ?? firstDivergence({ ...evidence, ...seen });
}
