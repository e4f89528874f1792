// Weights that differ, and what was done to them: first those of the step where the sides part, then all others.

import { elementCount } from "../../../base/dtype.ts";
import type { Cause } from "../../../faults/cause.ts";
import { viewSides, type WeightFault, weightFaults } from "../../../faults/weights.ts";
import type { HfView } from "../../../views/as-hf.ts";
import { castWords } from "../../../views/rounding.ts";
import { firstDivergence } from "../divergence.ts";
import type { Evidence } from "../evidence.ts";
import type { Rerun } from "../laboratory.ts";
import { type Case, nats, plural } from "./cause.ts";

/** What is looked at beyond the first step: in a model of other weights all tensors differ. */
const MOST_BEYOND = { tensors: 400, elements: 1 << 26 };

/** @param run with all undone that is no matter of weights; @param views both sides, in one type where they have several */
export function weightCauses({ evidence, trial }: Case, run: Rerun, views: readonly HfView[]): Cause[] {
  const different = new Set(evidence.coverage.weights?.different.map(({ key }) => key));
  if (views.length < 2 || different.size === 0) return [];
  const sides = viewSides(views, trial.passes.reference);
  const keys = sides.keys.filter((key) => different.has(key));
  const divergence = firstDivergence({ ...evidence, ...run });
  const step = new Set(divergence?.tensors);
  const isOfStep = (key: string) =>
    step.has(key) || views.some(({ origins }) => origins.get(key)?.some((own) => step.has(own)));
  const near = keys.filter(isOfStep);
  const beyond = withinBounds(
    keys.filter((key) => !near.includes(key)),
    views[0]!,
  );
  const faults = weightFaults({ ...sides, keys: [...near, ...beyond], suspects: [] });
  const unseen = keys.length - near.length - beyond.length;
  const groups = [...new Set(faults.map(({ code }) => code))];
  return groups.map((code) => {
    const alike = faults.filter((fault) => fault.code === code);
    const count = alike.filter(({ key }) => near.includes(key)).length;
    return causeOf(
      alike,
      placeWords(evidence, divergence?.tap ?? "", { near: count, beyond: alike.length - count, unseen }),
      run,
    );
  });
}

function withinBounds(keys: readonly string[], { source }: HfView): string[] {
  let elements = 0;
  return keys.slice(0, MOST_BEYOND.tensors).filter((key) => {
    const size = elementCount(source.tensors.get(key)!.shape);
    if (elements + size > MOST_BEYOND.elements) return false;
    elements += size;
    return true;
  });
}

function causeOf(alike: readonly WeightFault[], place: string, { metrics }: Rerun): Cause {
  const [first] = alike;
  return {
    code: first!.code,
    tensors: alike.map(({ key }) => key),
    fields: [],
    explanation: `"${first!.key}" ${first!.words}`,
    evidence: `${place}; mean KL is ${nats(metrics)}`,
    fix: first!.mend,
  };
}

interface Counts {
  readonly near: number;
  readonly beyond: number;
  readonly unseen: number;
}

function placeWords({ cast }: Evidence, tap: string, { near, beyond, unseen }: Counts): string {
  const parts = [
    ...(near > 0
      ? [`${near} of the tensors that the first differing step (${tap}) reads ${near === 1 ? "is" : "are"} so`]
      : []),
    ...(beyond > 0 ? [`${plural(beyond, "tensor")} elsewhere ${beyond === 1 ? "is" : "are"} so`] : []),
    ...(cast === null ? [] : [`compared in one type: ${castWords(cast.types)}`]),
    ...(unseen > 0 ? [`${plural(unseen, "tensor")} more that differ were not looked at`] : []),
  ];
  return parts.join("; ");
}
