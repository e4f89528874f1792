// Tensors in another floating-point type, as they are read or on their way to a sink, and what that did to their values.
import { castElements, castStaged, type Losses, STAGED } from "../base/casts/casts.ts";
import type { Dtype } from "../base/dtype.ts";
import { FLOAT_BYTES, type Float } from "../base/floats.ts";
import type { ReadBytes, Sink } from "./gather.ts";

const EXACT: ReadonlySet<string> = new Set(["F32→F64", "F16→F32", "F16→F64", "BF16→F32", "BF16→F64"]);
/** Whether a cast may change values. */
export const rounds = (from: Dtype, to: Dtype): boolean => from !== to && !EXACT.has(`${from}→${to}`);

/** What a cast did to the values, summed up over calls; one that is exact loses none, and says nothing of what remains. */
export interface CastStats extends Losses {
  elements: number;
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

/**
 * Reads tensors of type `from` as if they were of type `to`. `stats`, if given, count all that is read, gaps included.
 * Memory is shared by all casts of a thread: neither `read` nor a sink may cast in turn, unless its bytes are lent.
 */
export function castingRead(read: ReadBytes, from: Float, to: Float, stats?: CastStats): ReadBytes {
  if (from === to) return read;
  const fromBytes = FLOAT_BYTES[from];
  const toBytes = FLOAT_BYTES[to];
  return (key, begin, out) => {
    if (begin % toBytes !== 0 || out.length % toBytes !== 0) throw new RangeError(`${key}: range cuts an element`);
    const first = begin / toBytes;
    const count = out.length / toBytes;
    for (let done = 0; done < count; done += STAGED) {
      const n = Math.min(STAGED, count - done);
      const made = castStaged([from, to], n, stats, (source) => read(key, (first + done) * fromBytes, source));
      out.set(made, done * toBytes);
    }
    if (stats !== undefined) stats.elements += count;
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
    if (stats !== undefined) stats.elements += count;
    for (let done = 0; done < count; ) {
      const lent = lend(Math.min(LENT_BYTES, (count - done) * toBytes));
      const n = lent === null ? Math.min(STAGED, count - done) : lent.length / toBytes;
      const own = bytes.subarray(done * fromBytes, (done + n) * fromBytes);
      if (lent !== null) castElements([from, to], own, lent, stats);
      sink(lent ?? castStaged([from, to], n, stats, (source) => source.set(own)));
      done += n;
    }
  };
}

/** What is lent at a time. */
const LENT_BYTES = 2 ** 20;

/** Casts an array of whole elements. */
export function cast(bytes: Uint8Array, from: Float, to: Float, stats?: CastStats): Uint8Array {
  if (from === to) return bytes.slice();
  const count = bytes.length / FLOAT_BYTES[from];
  const out = new Uint8Array(count * FLOAT_BYTES[to]);
  castElements([from, to], bytes, out, stats);
  if (stats !== undefined) stats.elements += count;
  return out;
}
