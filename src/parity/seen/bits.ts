// Whether the weights of both sides are equal bit for bit, in Hugging Face's keys and dims. It tells "equal" from "not seen":
// what the input did not run, logits say nothing of.
import { FLOAT_BYTES, isFloat } from "../../base/floats.ts";
import type { TensorInfo } from "../../formats/checkpoint.ts";
import { castingRead } from "../../views/cast.ts";
import { narrower } from "../../views/rounding.ts";
import type { TensorSource } from "../../views/tensor-source.ts";
import type { Chosen } from "./chosen.ts";
import { type NotRun, type Partial, partialOf, type Reader, type Readers } from "./exercised.ts";

export interface DifferentWeight {
  /** Hugging Face key. */
  readonly key: string;
  /** What of it differs and was not run; null where all that differs was run. */
  readonly notRun: { readonly why: NotRun; readonly rows: readonly number[] } | null;
}

export interface WeightBits {
  /** Tensors that both sides have. */
  readonly tensors: number;
  /** Of those, equal bit for bit; and equal once those of the wider type are rounded to the narrower one. */
  readonly equal: number;
  readonly rounded: number;
  readonly different: readonly DifferentWeight[];
  /** Keys of tensors that one side has and the other does not. */
  readonly onlyIn: { readonly a: readonly string[]; readonly b: readonly string[] };
}

/**
 * Keys of tensors of which something differs that no step ran: nothing vouches for it. Rows that ids pick are not counted:
 * every input leaves most of them out, and rows that only pad a vocabulary may hold anything.
 */
export const weightsNotRun = (weights: WeightBits | null): string[] =>
  (weights?.different ?? []).flatMap(({ key, notRun }) => (notRun && notRun.why !== "row" ? [key] : []));

export const bytesOfBoth = (a: TensorSource, b: TensorSource, share: (key: string) => boolean = () => true): number =>
  [...a.tensors.values(), ...b.tensors.values()].reduce(
    (sum, { key, byteLength }) => sum + (share(key) ? byteLength : 0),
    0,
  );

/** What is unlike in two sets of weights, before it is asked what of it was run. */
export interface RawBits {
  readonly equal: number;
  readonly rounded: number;
  readonly different: readonly RawDifference[];
}

export interface RawDifference {
  readonly key: string;
  readonly reader: Reader;
  /** Indices of the first axis; one of them where the pass reads the whole of it, or nothing. */
  readonly rows: readonly number[];
}

/** Of some of the tensors that both have. Yields the bytes that it reads of both. */
export function* compareBits(
  a: TensorSource,
  b: TensorSource,
  readers: Readers,
  share: (key: string) => boolean = () => true,
): Generator<number, RawBits, void> {
  const [different, counts]: [RawDifference[], { equal: number; rounded: number }] = [[], { equal: 0, rounded: 0 }];
  for (const [key, info] of a.tensors) {
    const other = b.tensors.get(key);
    if (other === undefined || !share(key)) continue;
    const reader = readers(key);
    const rows = yield* differentRows([a, b], info, other, reader.kind === "whole" || reader.kind === "nothing");
    if (rows === "equal" || rows === "rounded") counts[rows]++;
    else different.push({ key, reader, rows });
  }
  return { ...counts, different };
}

/** @param onlyIn keys of tensors without a counterpart */
export const judgedBits = (
  { equal, rounded, different }: RawBits,
  chosen: Chosen,
  onlyIn: WeightBits["onlyIn"],
): WeightBits => ({
  tensors: equal + rounded + different.length,
  equal,
  rounded,
  different: different.map(({ key, reader, rows }) => {
    const partial = partialOf(reader, chosen);
    return { key, notRun: partial && notRun(partial, rows) };
  }),
  onlyIn,
});

/** Keys of tensors that one side has and the other does not. */
export function onlyInOne(a: TensorSource, b: TensorSource): WeightBits["onlyIn"] {
  const missing = (from: TensorSource, of: TensorSource) =>
    [...of.tensors.keys()].filter((key) => !from.tensors.has(key));
  return { a: missing(b, a), b: missing(a, b) };
}

function notRun(partial: Partial, rows: readonly number[]): DifferentWeight["notRun"] {
  const unseen = rows.filter((row) => !partial.has(row));
  return unseen.length === 0 ? null : { why: partial.why, rows: partial.why === "tensor" ? [] : unseen };
}

const BLOCK_BYTES = 1 << 20;

/** Indices of the first axis at which two tensors differ. */
function* differentRows(
  [a, b]: readonly [TensorSource, TensorSource],
  x: TensorInfo,
  y: TensorInfo,
  isOneEnough: boolean,
): Generator<number, "equal" | "rounded" | number[], void> {
  if (`${x.shape}` !== `${y.shape}`) return [0];
  const alike = inOneType([a, b], x, y);
  if (alike === null) return [0];
  const { read, byteLength, isRounded } = alike;
  const rowBytes = byteLength / (x.shape[0] ?? 1);
  const rows = new Set<number>();
  const size = Math.min(BLOCK_BYTES, byteLength);
  const [left, right] = [Buffer.alloc(size), Buffer.alloc(size)];
  for (let begin = 0; begin < byteLength; begin += size) {
    const count = Math.min(size, byteLength - begin);
    const [one, other] = [left.subarray(0, count), right.subarray(0, count)];
    read[0](x.key, begin, one);
    read[1](x.key, begin, other);
    yield 2 * count;
    if (one.equals(other)) continue;
    if (isOneEnough) return [0];
    for (const row of rowsThatDiffer(one, other, begin, rowBytes)) rows.add(row);
  }
  if (rows.size > 0) return [...rows];
  return isRounded ? "rounded" : "equal";
}

function* rowsThatDiffer(one: Buffer, other: Buffer, begin: number, rowBytes: number): Generator<number> {
  for (let at = 0; at < one.length; ) {
    const row = Math.floor((begin + at) / rowBytes);
    const end = Math.min(one.length, (row + 1) * rowBytes - begin);
    if (one.compare(other, at, end, at, end) !== 0) yield row;
    at = end;
  }
}

interface Alike {
  readonly read: readonly [TensorSource["read"], TensorSource["read"]];
  /** In the common type. */
  readonly byteLength: number;
  readonly isRounded: boolean;
}

/** Both tensors in the narrower of their types; null where one is not the rounding of the other in any. */
function inOneType([a, b]: readonly [TensorSource, TensorSource], x: TensorInfo, y: TensorInfo): Alike | null {
  const [readA, readB] = [a, b].map(
    (source): TensorSource["read"] =>
      (...range) =>
        source.read(...range),
  );
  if (x.dtype === y.dtype) return { read: [readA!, readB!], byteLength: x.byteLength, isRounded: false };
  if (!isFloat(x.dtype) || !isFloat(y.dtype)) return null;
  const common = narrower(x.dtype, y.dtype)!;
  return {
    read: [castingRead(readA!, x.dtype, common), castingRead(readB!, y.dtype, common)],
    byteLength: (x.byteLength / FLOAT_BYTES[x.dtype]) * FLOAT_BYTES[common],
    isRounded: true,
  };
}
