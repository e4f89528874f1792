// Why the sides differ: hypotheses in order, each with what the run showed and with further runs where it needs them.
import type { Metrics } from "../../../numerics/metrics.ts";
import type { ConfigDifference } from "../../family/config-differences.ts";
import { configDiffers } from "../../faults/model/config-differs.ts";
import { nonFinite } from "../../faults/model/non-finite.ts";
import { staleTiedHead } from "../../faults/model/stale-tied-head.ts";
import { unusedTensors } from "../../faults/model/unused-tensors.ts";
import { rounded } from "../../faults/values/rounded.ts";
import type { WeightFault } from "../../faults/weights.ts";
import { rounds } from "../../views/cast.ts";
import { castWords } from "../../views/rounding.ts";
import { type Evidence, isCastAlone, isMtp, placeOf } from "./evidence.ts";
import type { OtherVersion, WithoutKnown } from "./experiments.ts";

export interface Cause {
  readonly code: string;
  readonly tensors: readonly string[];
  readonly fields: readonly string[];
  readonly explanation: string;
  readonly evidence: string;
  readonly fix: string;
}

/** A run that failed, and what can be asked further of its sides. */
export interface Failure {
  readonly evidence: Evidence;
  /** Known upstream differences, and a run with them undone. */
  readonly known: WithoutKnown | null;
  /** Whether nothing is wrong with them undone. */
  readonly resolved: boolean;
  /** Runs with the reference's config on both sides; null where the weights of the other side do not fit it. */
  withReferenceConfig(): Promise<Metrics | null>;
  /** Runs with versions of upstream that compute otherwise on the side that is measured; null where none makes it right. */
  withOtherVersion(): Promise<OtherVersion | null>;
  /** Weights of the first step that differs which are not those of the reference; none of a side on its own. */
  weightFaults(): readonly WeightFault[];
}

type Hypothesis = (failure: Failure) => Cause | null | Promise<Cause | null>;

/** The most specific one first. */
const HYPOTHESES: readonly Hypothesis[] = [
  staleTie,
  otherConfig,
  knownUpstream,
  otherUpstream,
  unused,
  notFinite,
  castAlone,
  roundedGolden,
  otherWeights,
];

/** The reasons, where hypotheses hold. */
export async function explain(failure: Failure): Promise<readonly Cause[]> {
  for (const hypothesis of HYPOTHESES) {
    const cause = await hypothesis(failure);
    if (cause !== null) return [cause];
  }
  return [];
}

const scientific = (x: number): string => (x === 0 ? "0" : x.toExponential(2));

const nats = (metrics: Metrics): string => `${scientific(metrics.klMeanNats)} nats/token`;

function staleTie({ evidence: { brokenTies } }: Failure): Cause | null {
  const tie = staleTiedHead.recognise(brokenTies);
  if (tie === null) return null;
  return {
    code: staleTiedHead.code,
    tensors: [tie.alias, tie.of],
    fields: ["tie_word_embeddings"],
    explanation: staleTiedHead.words(tie),
    evidence: "the bytes of the two tensors differ",
    fix: staleTiedHead.mend(tie),
  };
}

async function otherConfig({ evidence, withReferenceConfig }: Failure): Promise<Cause | null> {
  const differences = configDiffers.recognise(evidence.configDifferences);
  if (differences === null) return null;
  const sameConfig = await withReferenceConfig();
  const rerun = sameConfig === null ? "" : `; with the reference's config on both sides it is ${nats(sameConfig)}`;
  return {
    code: configDiffers.code,
    tensors: [],
    fields: differences.map(({ field }) => field),
    explanation: configDiffers.words(differences),
    evidence: `${differences.map(inBoth).join("; ")}; mean KL is ${nats(evidence.metrics)}${rerun}`,
    fix: configDiffers.mend(differences),
  };
}

const inBoth = ({ field, a, b }: ConfigDifference): string => `${field}: ${show(a)} against ${show(b)}`;

function show(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}…`;
}

/** What upstream computes otherwise is a fault that the family brings, with its words, its mend and its undoing. */
function knownUpstream({ evidence: { metrics, taps }, known, resolved }: Failure): Cause | null {
  if (known === null || !resolved) return null;
  const { shares, without } = known;
  const { code, explanation, fix, klMeanNats } = shares.reduce((a, b) => (b.klMeanNats > a.klMeanNats ? b : a));
  const drafts = (of: typeof taps) => scientific(Math.max(...of.filter(isMtp).map((t) => t.relativeRms)));
  const evidence =
    klMeanNats === 0 && taps.some(isMtp)
      ? `no logit of the model differs; hidden states of multi-token prediction do by ${drafts(taps)} of their size, and by ${drafts(without.taps)} with the difference undone`
      : `mean KL is ${nats(metrics)}, and ${nats(without.metrics)} with the difference undone`;
  return { code, tensors: [], fields: [], explanation, evidence, fix };
}

/** Versions of upstream that disagree are told by the family, as known differences are. */
async function otherUpstream({ evidence: { metrics }, withOtherVersion }: Failure): Promise<Cause | null> {
  const other = await withOtherVersion();
  if (other === null) return null;
  const { code, project, before, after, lastBefore } = other.change;
  return {
    code,
    tensors: [],
    fields: [],
    explanation: `versions of ${project} disagree: up to ${lastBefore} it ${before}, then it ${after}`,
    evidence: `mean KL is ${nats(metrics)}, and ${nats(other.metrics)} as ${project} ${other.version} computes it`,
    fix: `if that version is meant, say so: --upstream ${project}=${other.version}`,
  };
}

function unused({ evidence }: Failure): Cause | null {
  const keys = unusedTensors.recognise(evidence.unusedTensors);
  if (keys === null) return null;
  return {
    code: unusedTensors.code,
    tensors: keys,
    fields: [],
    explanation: unusedTensors.words(keys),
    evidence: `${keys.length} tensors are read by no step; mean KL is ${nats(evidence.metrics)}`,
    fix: unusedTensors.mend(keys),
  };
}

function notFinite({ evidence, weightFaults }: Failure): Cause | null {
  if (evidence.nonFinite === null) return null;
  const { first, positions } = evidence.nonFinite;
  const seen = nonFinite.recognise({ side: first.side, recorded: evidence.golden && first.side === "reference" });
  if (seen === null) return null;
  const weights = weightFaults();
  const places = `${positions} of ${evidence.metrics.tokens} positions, the first at ${placeOf(first)}`;
  return {
    code: nonFinite.code,
    tensors: weights.map(({ key }) => key),
    fields: [],
    explanation: nonFinite.words(seen),
    evidence: [places, ...weights.slice(0, 1).map(({ key, words }) => `"${key}" ${words}`)].join("; "),
    fix: nonFinite.mend(seen),
  };
}

function otherWeights({ evidence, weightFaults }: Failure): Cause | null {
  const weights = weightFaults();
  const [first] = weights;
  if (first === undefined) return null;
  const alike = weights.filter(({ code }) => code === first.code);
  return {
    code: first.code,
    tensors: alike.map(({ key }) => key),
    fields: [],
    explanation: `"${first.key}" ${first.words}`,
    evidence: `${placeWords(evidence, alike.length)}; mean KL is ${nats(evidence.metrics)}`,
    fix: first.mend,
  };
}

function placeWords({ cast }: Evidence, count: number): string {
  if (cast === null) return `${count} of the tensors that the first differing step reads are so`;
  return `${count} of the tensors are so that are not the rounding of a: ${castWords(cast.types)}`;
}

/** All that differs is the types of the weights. */
function castAlone({ evidence }: Failure): Cause | null {
  const { cast, coverage, metrics } = evidence;
  if (cast === null || !isCastAlone(evidence)) return null;
  const widens = cast.types.every(({ from, to }) => !rounds(from, to));
  const [narrow, wide] = widens ? ["a", "b"] : ["b", "a"];
  const more = coverage.weights!.rounded;
  return {
    code: rounded.code,
    tensors: [],
    fields: [],
    explanation: `${narrow} is exactly the rounding of ${wide}, bit for bit: ${castWords(cast.types)}`,
    evidence: `${more} of ${coverage.weights!.tensors} tensors are equal once rounded, the others as they are; mean KL is ${nats(metrics)}`,
    fix: widens
      ? "if that cast was asked for, give them the other way round with --after-cast"
      : `if that cast was asked for, --after-cast asks for just that; to bound what it costs, --max-kl ${limitFor(metrics)}`,
  };
}

/**
 * A forward pass in a narrow type rounds after every op, the logits last. In a model of 2 layers all of it makes 30 times
 * the mean KL of that last rounding, in deep ones more; what is far beyond has another reason.
 */
const TIMES_LAST_ROUNDING = 1000;

function roundedGolden({ evidence: { goldenRounding, metrics } }: Failure): Cause | null {
  const { type, klMeanNats: least } = goldenRounding ?? { type: null, klMeanNats: null };
  if (type === null || least === null || metrics.klMeanNats > TIMES_LAST_ROUNDING * least) return null;
  return {
    code: "GOLDEN_ROUNDED",
    tensors: [],
    fields: [],
    explanation: `this golden was computed in ${type}: all its logits are values of that type`,
    evidence: `rounding the logits alone to ${type} makes a mean KL of ${scientific(least)} nats/token, a forward pass in ${type} more: here it is ${nats(metrics)}`,
    fix: `record it in f32 (from_pretrained(…, dtype=torch.float32), and compute in it), or bound what ${type} costs with --max-kl ${limitFor(metrics)}`,
  };
}

/** One digit, rounded up. */
function limitFor({ klMeanNats }: Metrics): string {
  const exponent = Math.floor(Math.log10(klMeanNats));
  return `${Math.ceil(klMeanNats / 10 ** exponent)}e${exponent}`;
}
