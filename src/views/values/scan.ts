// What the bits of a tensor show, read once.
import { FLOAT_BYTES, type Float } from "../../base/floats.ts";
import type { TensorInfo } from "../../formats/checkpoint.ts";
import type { TensorSource } from "../tensor-source.ts";
import { type Share, Shares } from "./untouched.ts";

export interface Scan {
  nans: number;
  infinities: number;
  /** Index of the first element that is not finite. */
  firstBad: number | null;
  /** Bits of the first element, while all elements so far have them; null after one that differs. */
  common: number | null | undefined;
  /** Whether some element is of normal size, and whether some is subnormal. */
  normal: boolean;
  subnormal: boolean;
  /** How many are subnormal, and how many finite ones are larger than any weight is; of F16 neither tells anything. */
  subnormals: number;
  huge: number;
  /** Rows or columns side by side that are alike. */
  untouched: Share | null;
}

/** Above it lies no weight: what memory holds by chance has every exponent. */
const HUGE = 2 ** 33;

const BLOCK_BYTES = 1 << 20;

/**
 * Reads a tensor once and looks at bits: a value is not finite where its exponent is all ones.
 * @param hasher sees all bytes, in order
 */
export function* scan(
  source: TensorSource,
  info: TensorInfo,
  dtype: Float,
  hasher?: { update(bytes: Uint8Array): unknown },
): Generator<number, Scan, void> {
  const { key, byteLength } = info;
  const buffer = new Uint8Array(Math.min(BLOCK_BYTES, byteLength));
  const state: Scan = {
    ...{ nans: 0, infinities: 0, firstBad: null, common: undefined, normal: false, subnormal: false },
    ...{ subnormals: 0, huge: 0, untouched: null },
  };
  const shares = new Shares(info.shape);
  for (let begin = 0; begin < byteLength; begin += BLOCK_BYTES) {
    const bytes = buffer.subarray(0, Math.min(BLOCK_BYTES, byteLength - begin));
    source.read(key, begin, bytes);
    scanBlock(bytes, dtype, begin / FLOAT_BYTES[dtype], [state, shares]);
    hasher?.update(bytes);
    yield bytes.length;
  }
  state.untouched = shares.found;
  return state;
}

/** Where the exponent and the fraction stand in the bits of an element. */
const MASKS = { F32: [0x7f800000, 0x7fffff], F16: [0x7c00, 0x3ff], BF16: [0x7f80, 0x7f] } as const;

function scanBlock(
  { buffer, byteLength }: Uint8Array,
  dtype: Float,
  first: number,
  [state, shares]: readonly [Scan, Shares],
): void {
  if (dtype === "F64") {
    scanDoubles(new Float64Array(buffer, 0, byteLength / 8), first, state);
    return;
  }
  const [exponent, fraction] = MASKS[dtype];
  const words =
    dtype === "F32" ? new Uint32Array(buffer, 0, byteLength / 4) : new Uint16Array(buffer, 0, byteLength / 2);
  scanWords(words, exponent, fraction, first, state);
  shares.see(words, first, exponent | fraction);
  if (dtype !== "F16") countOdd(words, exponent, HUGE_EXPONENT[dtype], state);
}

/** Exponent bits of 2^33: that of F32 and that of BF16, which is its upper half. */
const HUGE_EXPONENT = { F32: (127 + 33) << 23, BF16: (127 + 33) << 7 } as const;

function countOdd(words: Uint32Array | Uint16Array, exponent: number, huge: number, state: Scan): void {
  const magnitude = words instanceof Uint32Array ? 0x7fffffff : 0x7fff;
  let [small, large] = [0, 0];
  for (let i = 0; i < words.length; i++) {
    const size = words[i]! & magnitude;
    const power = size & exponent;
    if (power === 0) small += size === 0 ? 0 : 1;
    else if (power >= huge && power !== exponent) large += 1;
  }
  state.subnormals += small;
  state.huge += large;
}

function scanWords(
  words: Uint32Array | Uint16Array,
  exponent: number,
  fraction: number,
  first: number,
  state: Scan,
): void {
  if (state.common === undefined) state.common = words[0];
  if (state.common !== null) {
    const { common } = state;
    if (words.some((word) => word !== common)) state.common = null;
  }
  for (let i = 0; i < words.length && !state.normal; i++) {
    if ((words[i]! & exponent) !== 0) state.normal = true;
    else if ((words[i]! & fraction) !== 0) state.subnormal = true;
  }
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if ((word & exponent) !== exponent) continue;
    state.firstBad ??= first + i;
    if ((word & fraction) === 0) state.infinities++;
    else state.nans++;
  }
}

const SMALLEST_NORMAL_F64 = 2 ** -1022;

function scanDoubles(values: Float64Array, first: number, state: Scan): void {
  if (state.common === undefined) state.common = values[0];
  for (const [i, value] of values.entries()) {
    if (value !== state.common) state.common = null;
    if (Math.abs(value) >= SMALLEST_NORMAL_F64) state.normal = true;
    else if (value !== 0) state.subnormal = true;
    if (value !== 0 && Math.abs(value) < SMALLEST_NORMAL_F64) state.subnormals++;
    if (Number.isFinite(value)) {
      if (Math.abs(value) > HUGE) state.huge++;
      continue;
    }
    state.firstBad ??= first + i;
    if (Number.isNaN(value)) state.nans++;
    else state.infinities++;
  }
}
