// Casts between the floating-point types of weights, to nearest, ties to even, as torch does it on the CPU
// (pytorch/pytorch@v2.13.0:c10/util/{BFloat16,Half}.h). From F64 a value first becomes F32, as there.
//
// NaN: stays NaN, quiet. Sign and leading payload bits are kept, but for BF16 targets, which get 0x7FC0 (torch's vector
// code writes 0xFFFF there and its scalar code 0x7FC0, by position in the tensor). BF16 to F32 keeps all bits.
import type { Dtype } from "../base/dtype.ts";
import type { ReadBytes, Sink } from "./gather.ts";

export const FLOATS = ["F64", "F32", "F16", "BF16"] as const satisfies readonly Dtype[];
export type Float = (typeof FLOATS)[number];

export const isFloat = (dtype: Dtype): dtype is Float => FLOATS.some((float) => float === dtype);

const BYTES: Readonly<Record<Float, number>> = { F64: 8, F32: 4, F16: 2, BF16: 2 };
const EXACT: ReadonlySet<string> = new Set(["F32→F64", "F16→F32", "F16→F64", "BF16→F32", "BF16→F64"]);
/** Whether a cast may change values. */
export const rounds = (from: Dtype, to: Dtype): boolean => from !== to && !EXACT.has(`${from}→${to}`);

/** What a cast did to the values, summed up over calls. */
export interface CastStats {
  elements: number;
  /** Largest |cast - value| / |value| over finite values that stayed finite; 1 where one became zero. */
  maxRelativeError: number;
  /** Finite values that became infinite. */
  overflows: number;
}

export const newCastStats = (): CastStats => ({ elements: 0, maxRelativeError: 0, overflows: 0 });

const INFINITY = 0x7f800000;

/** Elements converted at once: their intermediate forms stay in the L2 cache. */
const BATCH = 2 ** 15;

/** Buffers of one batch, shared by all casts. */
const source64 = new Float64Array(BATCH);
const single = new Float32Array(BATCH);
const back = new Float32Array(BATCH);
const sourceBytes = new Uint8Array(source64.buffer);
const singleBits = new Uint32Array(single.buffer);
const backBits = new Uint32Array(back.buffer);
const source16 = new Uint16Array(source64.buffer);
const sourceBits = new Uint32Array(source64.buffer);
const target64 = new Float64Array(BATCH);
const targetBits = new Uint32Array(target64.buffer);
const target16 = new Uint16Array(target64.buffer);
const targetBytes = new Uint8Array(target64.buffer);

/**
 * Reads tensors of type `from` as if they were of type `to`. `stats`, if given, count all that is read, gaps included.
 * Buffers are shared by all casts: neither `read` nor a sink may cast in turn.
 */
export function castingRead(read: ReadBytes, from: Float, to: Float, stats?: CastStats): ReadBytes {
  if (from === to) return read;
  const fromBytes = BYTES[from];
  const toBytes = BYTES[to];
  return (key, begin, target) => {
    if (begin % toBytes !== 0 || target.length % toBytes !== 0) throw new RangeError(`${key}: range cuts an element`);
    const first = begin / toBytes;
    const count = target.length / toBytes;
    for (let done = 0; done < count; done += BATCH) {
      const n = Math.min(BATCH, count - done);
      read(key, (first + done) * fromBytes, sourceBytes.subarray(0, n * fromBytes));
      castBatch(from, to, n, stats);
      target.set(targetBytes.subarray(0, n * toBytes), done * toBytes);
    }
  };
}

/** Takes elements of type `from` and gives them to `sink` as type `to`. */
export function castingSink(sink: Sink, from: Float, to: Float, stats?: CastStats): Sink {
  if (from === to) return sink;
  const batchBytes = BATCH * BYTES[from];
  return (bytes) => {
    for (let at = 0; at < bytes.length; at += batchBytes) {
      const batch = bytes.subarray(at, at + batchBytes);
      const n = batch.length / BYTES[from];
      sourceBytes.set(batch);
      castBatch(from, to, n, stats);
      sink(targetBytes.subarray(0, n * BYTES[to]));
    }
  };
}

/** Casts an array of whole elements. */
export function cast(bytes: Uint8Array, from: Float, to: Float, stats?: CastStats): Uint8Array {
  const target = new Uint8Array((bytes.length / BYTES[from]) * BYTES[to]);
  let at = 0;
  const collect: Sink = (made) => {
    target.set(made, at);
    at += made.length;
  };
  castingSink(collect, from, to, stats)(bytes);
  return target;
}

/** `source…` → `single` → `target…` */
function castBatch(from: Float, to: Float, n: number, stats: CastStats | undefined): void {
  if (from === "F64") doubleToSingle(source64, sourceBits, single, singleBits, n);
  else if (from === "F32") singleBits.set(sourceBits.subarray(0, n));
  else if (from === "F16") halfToSingle(source16, singleBits, HALF, n);
  else bfloatToSingle(source16, singleBits, n);
  if (to === "F64") singleToDouble(single, singleBits, target64, targetBits, n);
  else if (to === "F32") targetBits.set(singleBits.subarray(0, n));
  else if (to === "F16") singleToHalf(single, singleBits, target16, n);
  else singleToBfloat(singleBits, target16, n);
  if (stats !== undefined) measure(from, to, n, stats);
}

function doubleToSingle(from: Float64Array, fromBits: Uint32Array, to: Float32Array, toBits: Uint32Array, n: number) {
  to.set(from.subarray(0, n));
  for (let i = 0; i < n; i += 1) {
    if (!Number.isNaN(from[i]!)) continue;
    const high = fromBits[2 * i + 1]!;
    const payload = ((high & 0x7ffff) << 3) | (fromBits[2 * i]! >>> 29);
    toBits[i] = (high & 0x80000000) | 0x7fc00000 | payload;
  }
}

function singleToDouble(from: Float32Array, fromBits: Uint32Array, to: Float64Array, toBits: Uint32Array, n: number) {
  to.set(from.subarray(0, n));
  for (let i = 0; i < n; i += 1) {
    const bits = fromBits[i]! | 0;
    if ((bits & 0x7fffffff) <= INFINITY) continue;
    toBits[2 * i] = bits << 29;
    toBits[2 * i + 1] = (bits & 0x80000000) | 0x7ff80000 | ((bits >>> 3) & 0x7ffff);
  }
}

function bfloatToSingle(from: Uint16Array, to: Uint32Array, n: number): void {
  for (let i = 0; i < n; i += 1) to[i] = from[i]! << 16;
}

function singleToBfloat(from: Uint32Array, to: Uint16Array, n: number): void {
  for (let i = 0; i < n; i += 1) {
    const bits = from[i]! | 0;
    const nan = (bits & 0x7fffffff) > INFINITY;
    to[i] = nan ? 0x7fc0 : ((bits + 0x7fff + ((bits >>> 16) & 1)) | 0) >>> 16;
  }
}

function halfToSingle(from: Uint16Array, to: Uint32Array, table: Uint32Array, n: number): void {
  for (let i = 0; i < n; i += 1) to[i] = table[from[i]!]!;
}

/** F32 bits of every F16. */
const HALF = Uint32Array.from({ length: 2 ** 16 }, (_, half) => {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 31;
  const fraction = half & 0x3ff;
  if (exponent === 31) return sign | 0x7f800000 | (fraction === 0 ? 0 : 0x400000 | (fraction << 13));
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  return sign | new Uint32Array(Float32Array.of(fraction * 2 ** -24).buffer)[0]!;
});

/** 2^16 and larger magnitudes have no F16; those below 2^-14 are subnormal. */
const HALF_OVERFLOW = 0x47800000;
const HALF_NORMAL = 0x38800000;

function singleToHalf(from: Float32Array, fromBits: Uint32Array, to: Uint16Array, n: number): void {
  for (let i = 0; i < n; i += 1) {
    const bits = fromBits[i]! | 0;
    const sign = (bits >>> 16) & 0x8000;
    const size = bits & 0x7fffffff;
    if (size > INFINITY) to[i] = sign | 0x7e00 | ((size >>> 13) & 0x3ff);
    else if (size >= HALF_OVERFLOW) to[i] = sign | 0x7c00;
    else if (size >= HALF_NORMAL) to[i] = sign | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13);
    else to[i] = sign | roundToEven(Math.abs(from[i]!) * 2 ** 24);
  }
}

/** For 0 ≤ x < 2^51: doubles from 2^52 on have no fraction. */
const roundToEven = (x: number): number => x + 2 ** 52 - 2 ** 52;

/** Compares what was written, decoded again, with the source. */
function measure(from: Float, to: Float, n: number, stats: CastStats): void {
  stats.elements += n;
  if (!rounds(from, to)) return;
  if (to === "BF16") bfloatToSingle(target16, backBits, n);
  else if (to === "F16") halfToSingle(target16, backBits, HALF, n);
  else back.set(single.subarray(0, n));
  const values = from === "F64" ? source64 : single;
  const worst = worstError(values, back, n, stats.maxRelativeError);
  if (worst < Infinity) {
    stats.maxRelativeError = worst;
    return;
  }
  for (let i = 0; i < n; i += 1) {
    if (Math.abs(back[i]!) < Infinity || !(Math.abs(values[i]!) < Infinity)) continue;
    stats.overflows += 1;
    back[i] = Number.NaN;
  }
  stats.maxRelativeError = worstError(values, back, n, stats.maxRelativeError);
}

/** Infinite and NaN values have an error of NaN and pass by; a value that overflowed gives Infinity. */
function worstError(values: Float32Array | Float64Array, made: Float32Array, n: number, from: number): number {
  let worst = from;
  for (let i = 0; i < n; i += 1) {
    const value = Math.abs(values[i]!);
    const error = Math.abs(Math.abs(made[i]!) - value);
    if (error > worst * value) worst = error / value;
  }
  return worst;
}
