// How far the values of a tap are apart, in sums of a few tokens each: those of some tokens here and others there, added in their
// order, are those of one run to the last bit.
import type { Rows } from "./ops/call.ts";

export type Values = Float32Array | Float64Array;

/** Tokens whose sums are one number. A run that is cut by tokens is cut between such groups. */
export const GROUP_TOKENS = 16;
/** Values that are compared at a time, and no less than a group. */
const BLOCK_VALUES = 1 << 20;

/** Of each group of tokens. */
export interface TapSums {
  /** Σ(x − r)² */
  readonly difference: readonly number[];
  /** Σr² */
  readonly reference: readonly number[];
}

export interface TapComparison {
  readonly tap: string;
  /** √(Σ(x − r)² / Σr²) of the two sides' values, r being the reference; NaN or Infinity where a value is. */
  readonly relativeRms: number;
}

export interface MeasuredTap extends TapComparison {
  readonly sums: TapSums;
}

/** Values of a tap, wherever they are. */
export interface TapValues {
  readonly size: number;
  read(begin: number, end: number): Promise<Values>;
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

export function measured(tap: string, sums: TapSums): MeasuredTap {
  const difference = sum(sums.difference);
  return { tap, relativeRms: difference === 0 ? 0 : Math.sqrt(difference / sum(sums.reference)), sums };
}

/** Sums of the same tap on some tokens and on those behind them. */
export const joinedSums = (parts: readonly TapSums[]): TapSums => ({
  difference: parts.flatMap(({ difference }) => difference),
  reference: parts.flatMap(({ reference }) => reference),
});

const APART: TapSums = { difference: [Number.POSITIVE_INFINITY], reference: [1] };

export interface Shapes {
  /** First axis of the candidate's values. */
  readonly rows: number;
  /** The rows that count, of groups of tokens; all unless given, and then the reference has as many. */
  readonly counted?: Rows | undefined;
}

/** Of two values of the same shape; where a part of the rows counts, the reference may have more of them. */
export async function tapSums(reference: TapValues, candidate: TapValues, { rows, counted }: Shapes): Promise<TapSums> {
  const width = candidate.size / rows;
  const { begin, end } = counted ?? { begin: 0, end: rows };
  const isApart = counted === undefined ? reference.size !== candidate.size : reference.size < end * width;
  if (isApart) return APART;
  const sums: { readonly difference: number[]; readonly reference: number[] } = { difference: [], reference: [] };
  const groups = Math.max(1, Math.floor(BLOCK_VALUES / (GROUP_TOKENS * width)));
  for (let row = begin; row < end; row += groups * GROUP_TOKENS) {
    const [first, last] = [row * width, Math.min(end, row + groups * GROUP_TOKENS) * width];
    const [r, x] = [await reference.read(first, last), await candidate.read(first, last)];
    addGroups(r, x, GROUP_TOKENS * width, sums);
  }
  return sums;
}

function addGroups(
  r: Values,
  x: Values,
  size: number,
  sums: { readonly difference: number[]; readonly reference: number[] },
): void {
  for (let begin = 0; begin < r.length; begin += size) {
    let [difference, total] = [0, 0];
    for (let i = begin; i < Math.min(begin + size, r.length); i++) {
      difference += (x[i]! - r[i]!) ** 2;
      total += r[i]! ** 2;
    }
    sums.difference.push(difference);
    sums.reference.push(total);
  }
}

/** All values, read in blocks as for a comparison. */
export async function copyOf({ size, read }: TapValues): Promise<Values> {
  const first = await read(0, Math.min(BLOCK_VALUES, size));
  if (size <= BLOCK_VALUES) return first;
  const values = first instanceof Float64Array ? new Float64Array(size) : new Float32Array(size);
  values.set(first);
  for (let begin = BLOCK_VALUES; begin < size; begin += BLOCK_VALUES) {
    values.set(await read(begin, Math.min(begin + BLOCK_VALUES, size)), begin);
  }
  return values;
}
