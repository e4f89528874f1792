// Faults of a side as a whole: a stale tie, tensors without a use, logits that are no numbers, a rounded golden.

import { isFloat } from "../../../base/floats.ts";
import { runSteps } from "../../../base/steps.ts";
import type { Family } from "../../../family/family.ts";
import { writtenFields } from "../../../family/written-fields.ts";
import type { Cause } from "../../../faults/cause.ts";
import { nonFinite } from "../../../faults/model/non-finite.ts";
import { staleTiedHead } from "../../../faults/model/stale-tied-head.ts";
import { unusedTensors } from "../../../faults/model/unused-tensors.ts";
import type { HfView } from "../../../views/as-hf.ts";
import { type Scan, scan } from "../../../views/values/scan.ts";
import { scientific } from "../../checks/check.ts";
import { firstDivergence } from "../divergence.ts";
import { placeOf } from "../evidence.ts";
import { inBytes } from "../trial.ts";
import { type Case, limitFor, nats, plural } from "./cause.ts";

export function staleTie({ evidence: { brokenTies }, laboratory }: Case): Cause[] {
  const tie = staleTiedHead.recognise(brokenTies);
  if (tie === null) return [];
  return [
    {
      code: staleTiedHead.code,
      tensors: [tie.alias, tie.of],
      fields: laboratory.families.flatMap(tieField).slice(0, 1),
      explanation: staleTiedHead.words(tie),
      evidence: "the bytes of the two tensors differ",
      fix: staleTiedHead.mend(tie),
    },
  ];
}

const TIE = "tie_word_embeddings";

/** Where a config has it: at the top, or in that of the text model. A config without it takes a default. */
function tieField(family: Family): string[] {
  const { tied, [TIE]: isTied = tied } = family.math();
  if (isTied !== true) return [];
  const fields = [...writtenFields(family.hfConfig(), false)].filter(([, { at }]) => at.at(-1) === TIE);
  const [path] = fields.find(([, { value }]) => value === true) ?? fields[0] ?? [TIE];
  return [path];
}

export function unused({ evidence }: Case): Cause[] {
  const keys = unusedTensors.recognise(evidence.unusedTensors);
  if (keys === null) return [];
  return [
    {
      code: unusedTensors.code,
      tensors: keys,
      fields: [],
      explanation: unusedTensors.words(keys),
      evidence: `${plural(keys.length, "tensor")} read by no step; mean KL is ${nats(evidence.metrics)}`,
      fix: unusedTensors.mend(keys),
    },
  ];
}

interface BadTensor extends Pick<Scan, "nans" | "infinities"> {
  readonly key: string;
  readonly first: readonly number[];
  readonly of: number;
}

/** Weights that are no numbers are one thing, a pass that makes such of good ones another. */
export async function notFinite(of: Case): Promise<{ readonly cause: Cause; readonly isInWeights: boolean } | null> {
  const { evidence, trial } = of;
  if (evidence.nonFinite === null) return null;
  const { first, positions } = evidence.nonFinite;
  const isRecorded = evidence.golden && first.side === "reference";
  const seen = nonFinite.recognise({ side: first.side, recorded: isRecorded });
  if (seen === null) return null;
  const { reference, sides } = trial.passes;
  const at = sides.length === 1 ? 0 : first.side === "reference" ? reference : 1 - reference;
  const bad = isRecorded ? [] : await badTensors(sides[at]!.view, of);
  const places = `${positions} of ${plural(evidence.metrics.tokens, "position")} have such logits, the first at ${placeOf(first)}`;
  const common = { code: nonFinite.code, tensors: bad.map(({ key }) => key), fields: [] };
  const [worst] = bad;
  const side = at === 0 ? "a" : "b";
  if (worst !== undefined) {
    const explanation = `${nonFinite.words(seen)}: "${worst.key}" of ${side} holds ${amount(worst)}, the first at [${worst.first}]`;
    const others = bad.slice(1, 4).map((each) => `"${each.key}" ${amount(each)}`);
    const more = bad.length > 4 ? [`${plural(bad.length - 4, "more tensor")}`] : [];
    const evidenceOf = [places, ...others, ...more].join("; ");
    const fix =
      "take these tensors from a checkpoint where they are numbers: a run that diverged, or a cast too narrow";
    return { cause: { ...common, explanation, evidence: evidenceOf, fix }, isInWeights: true };
  }
  const tap = firstDivergence({ ...evidence, ...of.seen })?.tap;
  const finite = isRecorded ? [] : [`every weight of ${side} is finite: its forward pass overflows`];
  return {
    cause: {
      ...common,
      explanation: [nonFinite.words(seen), ...finite].join("; "),
      evidence: [places, ...(tap === undefined || isRecorded ? [] : [`the sides part at ${tap}`])].join("; "),
      fix: isRecorded ? nonFinite.mend(seen) : "look for a scale that was applied twice, and at the config's scales",
    },
    isInWeights: false,
  };
}

const amount = ({ nans, infinities, of }: BadTensor): string =>
  `${[...(nans > 0 ? [`${nans} NaN`] : []), ...(infinities > 0 ? [`${infinities} infinite`] : [])].join(" and ")} of ${plural(of, "element")}`;

async function badTensors({ source }: HfView, { trial }: Case): Promise<BadTensor[]> {
  const infos = [...source.tensors.values()];
  function* all(): Generator<number, BadTensor[], void> {
    const bad: BadTensor[] = [];
    for (const info of infos) {
      if (!isFloat(info.dtype)) continue;
      const { nans, infinities, firstBad } = yield* scan(source, info, info.dtype);
      const of = info.shape.reduce((product, size) => product * size, 1);
      if (firstBad !== null) bad.push({ key: info.key, nans, infinities, of, first: indices(firstBad, info.shape) });
    }
    return bad;
  }
  const bytes = infos.reduce((sum, { byteLength }) => sum + byteLength, 0);
  return await runSteps(all(), "weights", bytes, inBytes(trial.options));
}

/** Row-major. */
function indices(element: number, shape: readonly number[]): number[] {
  const found: number[] = [];
  let rest = element;
  for (const size of shape.toReversed()) {
    found.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return found;
}

/**
 * A forward pass in a narrow type rounds after every op, the logits last. In a model of 2 layers all of it makes 30 times
 * the mean KL of that last rounding, in deep ones more; what is far beyond has another reason.
 */
const TIMES_LAST_ROUNDING = 1000;

export function roundedGolden({ evidence: { goldenRounding, metrics } }: Case): Cause[] {
  const { type, klMeanNats: least } = goldenRounding ?? { type: null, klMeanNats: null };
  if (type === null || least === null || metrics.klMeanNats > TIMES_LAST_ROUNDING * least) return [];
  return [
    {
      code: "GOLDEN_ROUNDED",
      tensors: [],
      fields: [],
      explanation: `this golden was computed in ${type}: all its logits are values of that type`,
      evidence: `rounding the logits alone to ${type} makes a mean KL of ${scientific(least)} nats/token, a forward pass in ${type} more: here it is ${nats(metrics)}`,
      fix: `record it in f32 (from_pretrained(…, dtype=torch.float32), and compute in it), or bound what ${type} costs with --max-kl ${limitFor(metrics)}`,
    },
  ];
}
