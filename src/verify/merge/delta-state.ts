// How often a tensor carries a delta: W + k·D for k = 1, 0, 2, −1, by the bits that one rounding makes, else within the last bit;
// any other k by least squares.
import { bytesPerElement, type Dtype, elementCount } from "../../base/dtype.ts";
import { FLOAT_BYTES, type Float, FRACTION_BITS, isFloat } from "../../base/floats.ts";
import type { TensorInfo } from "../../formats/checkpoint.ts";
import { cast } from "../../views/cast.ts";
import type { TensorSource } from "../../views/tensor-source.ts";

/**
 * `once`: the bits of one rounding. `rounded`: once, and other roundings. `vanished`: the rounding leaves nothing of the delta,
 * so nobody can tell. `scaled`: by a factor. `otherwise`: no multiple of the delta makes it.
 */
export type DeltaState = "once" | "rounded" | "vanished" | "lost" | "twice" | "subtracted" | "scaled" | "otherwise";

export interface Found {
  readonly state: DeltaState;
  /** k of least squares; null where the bits told, or where there is no delta. */
  readonly factor: number | null;
  /** ‖M − W − k·D‖ / ‖D‖; null as above. */
  readonly residue: number | null;
}

/** All under the key of `info`; `once` and `none` in its type. */
export interface Candidates {
  readonly merged: TensorSource;
  readonly once: TensorSource;
  readonly none: TensorSource;
  /** In F32; each adds to the others. None where a tensor takes another's place. */
  readonly deltas: readonly TensorSource[];
  /** The coarsest type that the sum may have been rounded to on its way. */
  readonly grain: Dtype;
  /** Products that one element of the deltas is a sum of. */
  readonly terms: number;
}

type Steps<T> = Generator<number, T, void>;

const BLOCK = 2 ** 16;

export function* deltaState(info: TensorInfo, candidates: Candidates): Steps<Found> {
  const { isOnce, isNone } = yield* sameBits(info, candidates);
  const byBits = (state: DeltaState): Found => ({ state, factor: null, residue: null });
  if (isOnce) return byBits(isNone ? "vanished" : "once");
  if (isNone) return byBits("lost");
  if (candidates.deltas.length === 0 || !isFloat(info.dtype)) return byBits("otherwise");
  const { largest, ...fit } = yield* leastSquares(info, info.dtype, candidates);
  const beyond = yield* beyondEach(info, info.dtype, candidates, fit.factor, largest);
  const near = [...MULTIPLES]
    .filter((_, i) => beyond[i] === 0)
    .toSorted((x, y) => Math.abs(x.factor - fit.factor) - Math.abs(y.factor - fit.factor));
  if (near[0] !== undefined) return { ...fit, state: near[0].state };
  return { ...fit, state: beyond.at(-1) === 0 ? "scaled" : "otherwise" };
}

/** `slack`: how many of the last bit it may be off, by its roundings. */
const MULTIPLES: readonly { readonly state: DeltaState; readonly factor: number; readonly slack: number }[] = [
  { state: "rounded", factor: 1, slack: 1 },
  { state: "lost", factor: 0, slack: 1 },
  { state: "twice", factor: 2, slack: 2 },
  { state: "subtracted", factor: -1, slack: 1 },
];

function* sameBits(
  { key, dtype, byteLength }: TensorInfo,
  { merged, once, none }: Candidates,
): Steps<{ readonly isOnce: boolean; readonly isNone: boolean }> {
  let [isOnce, isNone] = [true, true];
  const size = BLOCK * (bytesPerElement(dtype) ?? 1);
  for (let begin = 0; begin < byteLength && (isOnce || isNone); begin += size) {
    const [m, x] = [0, 1].map(() => Buffer.alloc(Math.min(size, byteLength - begin)));
    merged.read(key, begin, m!);
    const isLike = (source: TensorSource) => {
      source.read(key, begin, x!);
      return m!.equals(x!);
    };
    isOnce &&= isLike(once);
    isNone &&= isLike(none);
    yield m!.length;
  }
  return { isOnce, isNone };
}

interface Values {
  readonly m: Float64Array;
  readonly w: Float64Array;
  readonly d: Float64Array;
}

/** Merged, base and delta, block by block. */
function* blocks({ key, shape }: TensorInfo, dtype: Float, { merged, none, deltas }: Candidates): Generator<Values> {
  const count = elementCount(shape);
  const wide = (source: TensorSource, type: Float, begin: number, size: number): Float64Array => {
    // A source may cast as it is read, and casts share their buffers.
    const bytes = new Uint8Array(size * FLOAT_BYTES[type]);
    source.read(key, begin * FLOAT_BYTES[type], bytes);
    return new Float64Array(cast(bytes, type, "F64").buffer);
  };
  for (let begin = 0; begin < count; begin += BLOCK) {
    const size = Math.min(BLOCK, count - begin);
    const d = new Float64Array(size);
    for (const delta of deltas) {
      const own = new Float32Array(size);
      delta.read(key, begin * 4, new Uint8Array(own.buffer));
      for (let i = 0; i < size; i += 1) d[i]! += own[i]!;
    }
    yield { m: wide(merged, dtype, begin, size), w: wide(none, dtype, begin, size), d };
  }
}

interface Fit {
  readonly factor: number;
  readonly residue: number;
  /** Of the delta. */
  readonly largest: number;
}

function* leastSquares(info: TensorInfo, dtype: Float, candidates: Candidates): Steps<Fit> {
  let [dd, cd, cc, largest] = [0, 0, 0, 0];
  for (const { m, w, d } of blocks(info, dtype, candidates)) {
    for (let i = 0; i < m.length; i += 1) {
      const change = m[i]! - w[i]!;
      dd += d[i]! * d[i]!;
      cd += change * d[i]!;
      cc += change * change;
      largest = Math.max(largest, Math.abs(d[i]!));
    }
    yield m.length;
  }
  const factor = dd === 0 ? 0 : cd / dd;
  const rest = Math.sqrt(Math.max(0, cc - factor * cd));
  return { factor, residue: dd === 0 ? Number.POSITIVE_INFINITY : rest / Math.sqrt(dd), largest };
}

/** The number of elements that each of MULTIPLES, and at last the factor of least squares, does not explain. */
function* beyondEach(
  info: TensorInfo,
  dtype: Float,
  candidates: Candidates,
  factor: number,
  largest: number,
): Steps<readonly number[]> {
  const tried = [...MULTIPLES, { factor, slack: 2 }];
  const beyond = tried.map(() => 0);
  const isBeyond = beyondBy(candidates, largest);
  for (const { m, w, d } of blocks(info, dtype, candidates)) {
    for (let i = 0; i < m.length; i += 1)
      for (const [k, each] of tried.entries())
        if (isBeyond(m[i]!, w[i]!, each.factor * d[i]!, each.slack)) beyond[k]! += 1;
    yield m.length;
  }
  return beyond;
}

/**
 * Whether m is further from w + d than `slack` of the last bit of the largest of them; NaN is. In another order, and without
 * fused multiply-adds, the F32 sum that a delta is comes out within a last bit for each of its terms, of what these add up to:
 * where they cancel, the largest delta stands for that.
 */
function beyondBy(
  { grain, terms }: Candidates,
  largestDelta: number,
): (m: number, w: number, d: number, slack: number) => boolean {
  const last = isFloat(grain) ? 2 ** -FRACTION_BITS[grain] : 0;
  const ofSum = terms * 2 ** -FRACTION_BITS.F32 * largestDelta;
  return (m, w, d, slack) => {
    const largest = Math.max(Math.abs(m), Math.abs(w), Math.abs(d));
    return !(Math.abs(m - (w + d)) <= slack * (last * largest + ofSum) + Number.MIN_VALUE);
  };
}
