// Casts between the floating-point types of weights, as torch does them on the CPU: src/base/floats.ts has the bits.
import type { Dtype } from "../base/dtype.ts";
import {
  bfloatToSingle,
  type Doubles,
  doubleToSingle,
  FLOAT_BYTES,
  type Float,
  halfToSingle,
  type Singles,
  singleToBfloat,
  singleToDouble,
  singleToHalf,
} from "../base/floats.ts";
import type { ReadBytes, Sink } from "./gather.ts";

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
  /** Values that became zero. */
  vanished: number;
  /** Whether any value of a cast that rounds is other than zero. */
  remains: boolean;
}

export const newCastStats = (): CastStats => ({
  elements: 0,
  maxRelativeError: 0,
  overflows: 0,
  vanished: 0,
  remains: false,
});

/** Of two parts of a tensor, what is known of both. */
export const addStats = (a: CastStats = newCastStats(), b: CastStats): CastStats => ({
  elements: a.elements + b.elements,
  maxRelativeError: Math.max(a.maxRelativeError, b.maxRelativeError),
  overflows: a.overflows + b.overflows,
  vanished: a.vanished + b.vanished,
  remains: a.remains || b.remains,
});

/** Elements converted at once: their intermediate forms stay in the L2 cache. */
const BATCH = 2 ** 15;

/** Memory for one batch of elements, as each type sees it. */
function newBatch() {
  const buffer = new ArrayBuffer(8 * BATCH);
  const bits = new Uint32Array(buffer);
  return {
    bytes: new Uint8Array(buffer),
    halves: new Uint16Array(buffer),
    singles: { values: new Float32Array(buffer), bits } satisfies Singles,
    doubles: { values: new Float64Array(buffer), bits } satisfies Doubles,
  };
}

/** Shared by all casts. */
const [source, middle, target, back] = [newBatch(), newBatch(), newBatch(), newBatch()];

/**
 * Reads tensors of type `from` as if they were of type `to`. `stats`, if given, count all that is read, gaps included.
 * Buffers are shared by all casts: neither `read` nor a sink may cast in turn.
 */
export function castingRead(read: ReadBytes, from: Float, to: Float, stats?: CastStats): ReadBytes {
  if (from === to) return read;
  const fromBytes = FLOAT_BYTES[from];
  const toBytes = FLOAT_BYTES[to];
  return (key, begin, out) => {
    if (begin % toBytes !== 0 || out.length % toBytes !== 0) throw new RangeError(`${key}: range cuts an element`);
    const first = begin / toBytes;
    const count = out.length / toBytes;
    for (let done = 0; done < count; done += BATCH) {
      const n = Math.min(BATCH, count - done);
      read(key, (first + done) * fromBytes, source.bytes.subarray(0, n * fromBytes));
      castBatch(from, to, n, stats);
      out.set(target.bytes.subarray(0, n * toBytes), done * toBytes);
    }
  };
}

/** Takes elements of type `from` and gives them to `sink` as type `to`. */
export function castingSink(sink: Sink, from: Float, to: Float, stats?: CastStats): Sink {
  if (from === to) return sink;
  const batchBytes = BATCH * FLOAT_BYTES[from];
  return (bytes) => {
    for (let at = 0; at < bytes.length; at += batchBytes) {
      const batch = bytes.subarray(at, at + batchBytes);
      const n = batch.length / FLOAT_BYTES[from];
      source.bytes.set(batch);
      castBatch(from, to, n, stats);
      sink(target.bytes.subarray(0, n * FLOAT_BYTES[to]));
    }
  };
}

/** Casts an array of whole elements. */
export function cast(bytes: Uint8Array, from: Float, to: Float, stats?: CastStats): Uint8Array {
  const out = new Uint8Array((bytes.length / FLOAT_BYTES[from]) * FLOAT_BYTES[to]);
  let at = 0;
  const collect: Sink = (made) => {
    out.set(made, at);
    at += made.length;
  };
  castingSink(collect, from, to, stats)(bytes);
  return out;
}

/** `source` → `middle`, in F32 → `target` */
function castBatch(from: Float, to: Float, n: number, stats: CastStats | undefined): void {
  const { singles } = middle;
  if (from === "F64") doubleToSingle(source.doubles, singles, n);
  else if (from === "F32") singles.bits.set(source.singles.bits.subarray(0, n));
  else if (from === "F16") halfToSingle(source.halves, singles.bits, n);
  else bfloatToSingle(source.halves, singles.bits, n);
  if (to === "F64") singleToDouble(singles, target.doubles, n);
  else if (to === "F32") target.singles.bits.set(singles.bits.subarray(0, n));
  else if (to === "F16") singleToHalf(singles.bits, target.halves, n);
  else singleToBfloat(singles.bits, target.halves, n);
  if (stats !== undefined) measure(from, to, n, stats);
}

/** Compares what was written, decoded again, with the source. */
function measure(from: Float, to: Float, n: number, stats: CastStats): void {
  stats.elements += n;
  if (!rounds(from, to)) return;
  const made = back.singles.values;
  if (to === "BF16") bfloatToSingle(target.halves, back.singles.bits, n);
  else if (to === "F16") halfToSingle(target.halves, back.singles.bits, n);
  else made.set(middle.singles.values.subarray(0, n));
  const values = from === "F64" ? source.doubles.values : middle.singles.values;
  measureVanished(values, made, n, stats);
  const worst = worstError(values, made, n, stats.maxRelativeError);
  if (worst < Infinity) {
    stats.maxRelativeError = worst;
    return;
  }
  for (let i = 0; i < n; i += 1) {
    if (Math.abs(made[i]!) < Infinity || !(Math.abs(values[i]!) < Infinity)) continue;
    stats.overflows += 1;
    made[i] = Number.NaN;
  }
  stats.maxRelativeError = worstError(values, made, n, stats.maxRelativeError);
}

function measureVanished(values: Float32Array | Float64Array, made: Float32Array, n: number, stats: CastStats): void {
  let zeros = 0;
  let vanished = 0;
  for (let i = 0; i < n; i += 1) {
    if (made[i] !== 0) continue;
    zeros += 1;
    if (values[i] !== 0) vanished += 1;
  }
  stats.vanished += vanished;
  stats.remains ||= zeros < n;
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
