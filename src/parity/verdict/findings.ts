// What is wrong, in one sentence per check.
import { weightsNotRun } from "../seen/bits.ts";
import { type Evidence, isMtp, placeOf } from "./evidence.ts";
import { tapLimit } from "./limits.ts";

export const FINDING_CODES = [
  "KL",
  "TOP1",
  "NON_FINITE",
  "MTP",
  "LAYERS",
  "UNUSED_TENSORS",
  "WEIGHTS_NOT_RUN",
  "NOT_THE_CAST",
  "TIE_BROKEN",
  "CONFIG",
] as const;

export interface Finding {
  readonly code: (typeof FINDING_CODES)[number];
  readonly message: string;
}

const SHOWN = 8;

const few = (words: readonly string[]): string =>
  words.length <= SHOWN ? words.join(", ") : `${words.slice(0, SHOWN).join(", ")} and ${words.length - SHOWN} more`;

/** The logits have limits of their own. */
const isLayer = (tap: string): boolean => tap !== "logits";

/** Nothing means that every check held. */
export const find = (evidence: Evidence): readonly Finding[] => [...findings(evidence)];

function* findings({ metrics, nonFinite, thresholds, ...rest }: Evidence): Generator<Finding> {
  if (nonFinite) {
    const { side, token, value } = nonFinite.first;
    const where = `the ${side}'s logit of token ${token} at ${placeOf(nonFinite.first)} is ${value}`;
    const { positions } = nonFinite;
    const message = `${where}; ${positions} ${positions === 1 ? "position has" : "positions have"} such logits`;
    yield { code: "NON_FINITE", message };
  }
  // A part of a run by layers has logits where it goes to the end alone.
  const hasLogits = metrics.tokens > 0;
  if (hasLogits && !(metrics.klMeanNats <= thresholds.klMeanNats)) {
    const message = `mean KL ${metrics.klMeanNats.toExponential(2)} nats/token is above the limit of ${thresholds.klMeanNats.toExponential(2)}`;
    yield { code: "KL", message };
  }
  if (hasLogits && thresholds.top1 !== null && !(metrics.top1 >= thresholds.top1)) {
    yield { code: "TOP1", message: `top-1 agreement ${metrics.top1} is below the limit of ${thresholds.top1}` };
  }
  for (const { tap, relativeRms } of rest.taps.filter(isMtp)) {
    if (relativeRms <= tapLimit(rest.exact)) continue;
    const message = `the hidden states of ${tap} (multi-token prediction) differ by ${relativeRms.toExponential(2)} of their size`;
    yield { code: "MTP", message };
  }
  const apart = rest.isByLayers
    ? rest.taps.filter(
        ({ tap, relativeRms }) => isLayer(tap) && !(relativeRms <= tapLimit(rest.exact, rest.goldenTaps)),
      )
    : [];
  if (apart.length > 0) {
    const layers = apart.map(({ tap, relativeRms }) => `${tap} by ${relativeRms.toExponential(2)} of its size`);
    yield {
      code: "LAYERS",
      message: `not the recorded hidden states, from recorded ones before them: ${few(layers)}`,
    };
  }
  if (rest.configDifferences.length > 0) {
    const fields = rest.configDifferences.map(({ field }) => field).join(", ");
    yield { code: "CONFIG", message: `the configs differ in what the forward pass computes: ${fields}` };
  }
  for (const { alias, of } of rest.brokenTies) {
    yield { code: "TIE_BROKEN", message: `the config ties "${alias}" to "${of}", but their bytes differ` };
  }
  if (rest.unusedTensors.length > 0) {
    const keys = rest.unusedTensors.map((key) => `"${key}"`).join(", ");
    yield { code: "UNUSED_TENSORS", message: `no step reads ${keys}` };
  }
  const { different = [] } = rest.cast?.asked ? (rest.coverage.weights ?? {}) : {};
  if (different.length > 0) {
    const keys = different.map(({ key }) => `"${key}"`).join(", ");
    yield { code: "NOT_THE_CAST", message: `not the rounding of a: ${keys}` };
    return;
  }
  // A limit that was given lets weights differ, those that ran and those that did not.
  const notRun = thresholds.origin === "given" ? [] : weightsNotRun(rest.coverage.weights);
  if (notRun.length > 0) {
    const keys = notRun.map((key) => `"${key}"`).join(", ");
    yield { code: "WEIGHTS_NOT_RUN", message: `not equal bit for bit and not run by this input: ${keys}` };
  }
}
