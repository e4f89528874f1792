// Values that a trained model does not have: not finite, all alike, all zero, all too small for their type.
import { elementCount } from "../../base/dtype.ts";
import type { TensorInfo } from "../../formats/checkpoint.ts";
import { coordinates } from "../compare.ts";
import type { Difference } from "../difference.ts";
import type { Scan } from "./scan.ts";

export interface Scanned {
  readonly info: TensorInfo;
  /** Hugging Face's key of the tensor, or of the first of those that are made of it. */
  readonly hfKey: string;
  readonly scan: Scan;
  /** Of its bytes. */
  readonly hash?: string;
}

export interface Judged {
  readonly differences: readonly Difference[];
  readonly notes: readonly string[];
}

/** Weights of a norm scale what they are given: zeros silence the layer. */
const NORM = /norm[^.]*\.weight$/;
const BIAS = /(?:^|[._])bias$/;
/** What some recipes begin with at zero: the last map of a residual branch, and tables of positions. */
const ZERO_START =
  /(?:\b(?:o_proj|out_proj|down_proj|wo|attn\.proj|(?:linear_)?fc2)|pos(?:ition)?_emb\w*)(?:\.weight)?$/;

/** @param centredNorms of the family: norms whose zeros are the identity */
export function judgeValues(all: readonly Scanned[], centredNorms: RegExp | undefined): Judged {
  const starts = zeroStarts(all);
  const differences = all.flatMap((each) => (starts.has(patternOf(each)) ? [] : findings(each, centredNorms)));
  const repeated = repetitions(all);
  return {
    differences: [...differences, ...repeated.differences],
    notes: [...[...starts.values()].map(startNote), ...repeated.notes],
  };
}

/** The kind of tensor: its key without indices. */
const patternOf = ({ hfKey }: Scanned): string => hfKey.replaceAll(/\d+/g, "#");

/** Kinds of tensors that may begin at zero, and are zero in every layer: a fault hits some of them. */
function zeroStarts(all: readonly Scanned[]): ReadonlyMap<string, readonly Scanned[]> {
  const kinds = new Map<string, Scanned[]>();
  for (const each of all) {
    if (!ZERO_START.test(each.hfKey)) continue;
    const kind = patternOf(each);
    if (!kinds.get(kind)?.push(each)) kinds.set(kind, [each]);
  }
  return new Map([...kinds].filter(([, each]) => each.every(({ scan }) => scan.common === 0)));
}

function startNote(all: readonly Scanned[]): string {
  const { key } = all[0]!.info;
  const which = all.length === 1 ? `"${key}" is` : `all ${all.length} tensors like "${key}" are`;
  return `${which} 0: so some recipes begin; a trained model has other values there`;
}

function findings({ info, hfKey, scan }: Scanned, centredNorms: RegExp | undefined): Difference[] {
  const { key, shape, dtype } = info;
  const { firstBad, common, normal, subnormal } = scan;
  const total = elementCount(shape);
  if (firstBad !== null) return notFinite(info, scan);
  const isNorm = NORM.test(hfKey) || NORM.test(key);
  const isMatrix = shape.length > 1 && !BIAS.test(hfKey);
  if (total < 2 || (!isMatrix && !isNorm)) return [];
  if (common === 0) {
    if (centredNorms?.test(hfKey)) return [];
    return [{ key, kind: "zero", detail: `all ${total} elements are 0: was it ever initialised or loaded?` }];
  }
  if (subnormal && !normal) {
    const detail = `all ${total} elements are below the smallest normal ${dtype}, where digits are lost: was it scaled or cast?`;
    return [{ key, kind: "subnormal", detail }];
  }
  if (isMatrix && common !== null && common !== undefined)
    return [{ key, kind: "constant", detail: `all ${total} elements are equal: was it ever initialised?` }];
  return fromMemory(info, hfKey, scan);
}

/** A share of subnormal values above it is no rounding of small weights. */
const SUBNORMAL_SHARE = 0.02;
/** Rows of the vocabulary may be padding, which nothing ever reads. */
const PADDED = /(?:embed_tokens|lm_head)\b/;

/** What memory held before weights were written to it. */
function fromMemory({ key, shape }: TensorInfo, hfKey: string, { huge, subnormals, untouched }: Scan): Difference[] {
  const total = elementCount(shape);
  if (huge > 0) {
    const detail = `${huge} of ${total} elements are beyond 2^33, as no weight is: was it ever initialised?`;
    return [{ key, kind: "implausible", detail }];
  }
  if (subnormals > Math.max(1, SUBNORMAL_SHARE * total)) {
    const detail = `${subnormals} of ${total} elements are subnormal among others that are not: was it ever initialised?`;
    return [{ key, kind: "implausible", detail }];
  }
  if (shape.length < 2 || untouched === null || PADDED.test(hfKey) || BIAS.test(hfKey)) return [];
  const { axis, begin, end, of } = untouched;
  const detail = `${axis} ${begin} to ${end - 1} of ${of} hold one value each, the others do not: did a rank write its share?`;
  return [{ key, kind: "untouched", detail }];
}

/** The head may be the embedding, also where the config does not tie them. */
const HEADS = /(?:embed_tokens|lm_head|shared_head\.head)\b/;
const EXPERT = /\.experts\.\d+\./;
/** A matrix of fewer elements may be the same by chance. */
const LEAST_ELEMENTS = 16;

/** Matrices that hold the same bytes, each told once, with the first that has them. */
function repetitions(all: readonly Scanned[]): Judged {
  const seen = new Map<string, Scanned>();
  const differences: Difference[] = [];
  for (const each of all) {
    const { info, hfKey, scan, hash } = each;
    const { key, shape, dtype } = info;
    if (hash === undefined || scan.common !== null || shape.length < 2 || BIAS.test(hfKey)) continue;
    if (elementCount(shape) < LEAST_ELEMENTS || HEADS.test(hfKey)) continue;
    const id = `${hash} ${dtype} ${shape}`;
    const first = seen.get(id);
    if (first === undefined) seen.set(id, each);
    else differences.push({ key, kind: "repeated", detail: `holds the bytes of "${first.info.key}", and is no tie` });
  }
  return upcycled(all, differences);
}

/** Experts that are all copies of one are how some mixtures begin: a fault repeats some of them. */
function upcycled(all: readonly Scanned[], differences: readonly Difference[]): Judged {
  const experts = all.filter(({ hfKey, info }) => EXPERT.test(hfKey) && EXPERT.test(info.key) && info.shape.length > 1);
  const kinds = new Set(experts.map(({ hfKey }) => hfKey.replace(EXPERT, ".experts.#.")));
  const repeated = new Set(differences.map(({ key }) => key));
  const copies = experts.filter(({ info }) => repeated.has(info.key));
  if (copies.length === 0 || copies.length < experts.length - kinds.size) return { differences, notes: [] };
  const apart = new Set(copies.map(({ info }) => info.key));
  return {
    differences: differences.filter(({ key }) => !apart.has(key)),
    notes: [`all experts of a layer hold the same weights: so mixtures begin that are made of one model`],
  };
}

function notFinite({ key, shape }: TensorInfo, { nans, infinities, firstBad }: Scan): Difference[] {
  const at = `first at [${coordinates(firstBad!, shape).join(", ")}]`;
  const found = (kind: "nan" | "infinite", name: string, count: number): Difference[] =>
    count === 0 ? [] : [{ key, kind, detail: `${count} of ${elementCount(shape)} elements are ${name}; ${at}` }];
  return [...found("nan", "NaN", nans), ...found("infinite", "infinite", infinities)];
}
