// What the bits of a tensor show, read once.
import { FLOAT_BYTES, type Float } from "../../base/floats.ts";
import type { TensorInfo } from "../../formats/checkpoint.ts";
import type { TensorSource } from "../tensor-source.ts";

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
}

const BLOCK_BYTES = 1 << 20;

/** Reads a tensor once and looks at bits: a value is not finite where its exponent is all ones. */
export function* scan(source: TensorSource, info: TensorInfo, dtype: Float): Generator<number, Scan, void> {
  const { key, byteLength } = info;
  const buffer = new Uint8Array(Math.min(BLOCK_BYTES, byteLength));
  const state: Scan = { nans: 0, infinities: 0, firstBad: null, common: undefined, normal: false, subnormal: false };
  for (let begin = 0; begin < byteLength; begin += BLOCK_BYTES) {
    const bytes = buffer.subarray(0, Math.min(BLOCK_BYTES, byteLength - begin));
    source.read(key, begin, bytes);
    scanBlock(bytes, dtype, begin / FLOAT_BYTES[dtype], state);
    yield bytes.length;
  }
  return state;
}

/** Where the exponent and the fraction stand in the bits of an element. */
const MASKS = { F32: [0x7f800000, 0x7fffff], F16: [0x7c00, 0x3ff], BF16: [0x7f80, 0x7f] } as const;

function scanBlock({ buffer, byteLength }: Uint8Array, dtype: Float, first: number, state: Scan): void {
  if (dtype === "F64") {
    scanDoubles(new Float64Array(buffer, 0, byteLength / 8), first, state);
    return;
  }
  const [exponent, fraction] = MASKS[dtype];
  const words =
    dtype === "F32" ? new Uint32Array(buffer, 0, byteLength / 4) : new Uint16Array(buffer, 0, byteLength / 2);
  scanWords(words, exponent, fraction, first, state);
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
    if (Number.isFinite(value)) continue;
    state.firstBad ??= first + i;
    if (Number.isNaN(value)) state.nans++;
    else state.infinities++;
  }
}
