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

/** Elements in a memory, as each type sees them. They begin at a multiple of their size. */
class Elements {
  readonly #buffer: ArrayBufferLike;
  readonly #begin: number;
  readonly #count: number;

  constructor(buffer: ArrayBufferLike, begin: number, count: number) {
    this.#buffer = buffer;
    this.#begin = begin;
    this.#count = count;
  }

  get halves(): Uint16Array {
    return new Uint16Array(this.#buffer, this.#begin, this.#count);
  }

  get singles(): Singles {
    const values = new Float32Array(this.#buffer, this.#begin, this.#count);
    return { values, bits: new Uint32Array(this.#buffer, this.#begin, this.#count) };
  }

  get doubles(): Doubles {
    const values = new Float64Array(this.#buffer, this.#begin, this.#count);
    return { values, bits: new Uint32Array(this.#buffer, this.#begin, 2 * this.#count) };
  }
}

/** Memory for one batch of elements of any type, shared by all casts. */
const newBatch = (): Uint8Array => new Uint8Array(8 * BATCH);
const [source, middle, target, back] = [newBatch(), newBatch(), newBatch(), newBatch()];
const batchOf = ({ buffer }: Uint8Array): Elements => new Elements(buffer, 0, BATCH);
const [middles, backs] = [batchOf(middle).singles, batchOf(back).singles];

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
      read(key, (first + done) * fromBytes, source.subarray(0, n * fromBytes));
      castBatch([from, batchOf(source)], [to, batchOf(target)], n, stats);
      out.set(target.subarray(0, n * toBytes), done * toBytes);
    }
  };
}

/**
 * Takes elements of type `from` and gives them to `sink` as type `to`.
 * @param lend memory to make them in, which is good as long as the sink takes; null for as much as it does not have
 */
export function castingSink(
  sink: Sink,
  from: Float,
  to: Float,
  stats?: CastStats,
  lend: (byteLength: number) => Uint8Array | null = () => null,
): Sink {
  if (from === to) return sink;
  const [fromBytes, toBytes] = [FLOAT_BYTES[from], FLOAT_BYTES[to]];
  return (bytes) => {
    const count = bytes.length / fromBytes;
    for (let done = 0; done < count; ) {
      const lent = lend(Math.min(LENT_BYTES, (count - done) * toBytes));
      const made = lent ?? target.subarray(0, Math.min(BATCH, count - done) * toBytes);
      castPiece(bytes.subarray(done * fromBytes), from, made, to, stats);
      sink(made);
      done += made.length / toBytes;
    }
  };
}

/** What is lent at a time. */
const LENT_BYTES = 2 ** 20;

/** As many elements as `made` has room for. */
function castPiece(bytes: Uint8Array, from: Float, made: Uint8Array, to: Float, stats: CastStats | undefined): void {
  const [fromBytes, toBytes] = [FLOAT_BYTES[from], FLOAT_BYTES[to]];
  const count = made.length / toBytes;
  for (let done = 0; done < count; done += BATCH) {
    const n = Math.min(BATCH, count - done);
    const begin = bytes.byteOffset + done * fromBytes;
    let elements: Elements;
    if (begin % fromBytes === 0) elements = new Elements(bytes.buffer, begin, n);
    else {
      source.set(bytes.subarray(done * fromBytes, (done + n) * fromBytes));
      elements = batchOf(source);
    }
    castBatch([from, elements], [to, new Elements(made.buffer, made.byteOffset + done * toBytes, n)], n, stats);
  }
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

type Typed = readonly [type: Float, elements: Elements];

/** By way of F32, which is where it is if it is either of them. */
function castBatch([from, source]: Typed, [to, target]: Typed, n: number, stats: CastStats | undefined): void {
  const singles = from === "F32" ? source.singles : to === "F32" ? target.singles : middles;
  if (from === "F64") doubleToSingle(source.doubles, singles, n);
  else if (from === "F16") halfToSingle(source.halves, singles.bits, n);
  else if (from === "BF16") bfloatToSingle(source.halves, singles.bits, n);
  if (to === "F64") singleToDouble(singles, target.doubles, n);
  else if (to === "F16") singleToHalf(singles.bits, target.halves, n);
  else if (to === "BF16") singleToBfloat(singles.bits, target.halves, n);
  if (stats === undefined) return;
  stats.elements += n;
  if (!rounds(from, to)) return;
  if (to === "BF16") bfloatToSingle(target.halves, backs.bits, n);
  else if (to === "F16") halfToSingle(target.halves, backs.bits, n);
  else backs.values.set(singles.values.subarray(0, n));
  measure(from === "F64" ? source.doubles.values : singles.values, backs.values, n, stats);
}

/** Compares what was written, decoded again, with the source. */
function measure(values: Float32Array | Float64Array, made: Float32Array, n: number, stats: CastStats): void {
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
