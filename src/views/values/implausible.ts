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
  return { differences, notes: [...starts.values()].map(startNote) };
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
  return isMatrix && common !== null && common !== undefined
    ? [{ key, kind: "constant", detail: `all ${total} elements are equal: was it ever initialised?` }]
    : [];
}

function notFinite({ key, shape }: TensorInfo, { nans, infinities, firstBad }: Scan): Difference[] {
  const at = `first at [${coordinates(firstBad!, shape).join(", ")}]`;
  const found = (kind: "nan" | "infinite", name: string, count: number): Difference[] =>
    count === 0 ? [] : [{ key, kind, detail: `${count} of ${elementCount(shape)} elements are ${name}; ${at}` }];
  return [...found("nan", "NaN", nans), ...found("infinite", "infinite", infinities)];
}
