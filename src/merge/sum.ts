// Tensors of a base with what adapters add to them, or put in their place, made as they are read: in F32, rounded once to the
// type of the base, as torch adds an F32 to a narrower tensor in place.

import { elementCount } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";
import { FLOAT_BYTES, type Float, isFloat } from "../base/floats.ts";
import type { MergedMeasure, MergedPiece, MergedRange, TensorInfo } from "../formats/checkpoint.ts";
import { measureOf, WideSum } from "../formats/merged-pieces.ts";
import { cast } from "../views/cast.ts";
import type { TensorSource } from "../views/tensor-source.ts";
import { Covered } from "./covered.ts";

/** What changes the tensors of a base, by their canonical keys. */
export interface Changes {
  /** In the order in which they are added. F32. */
  readonly added: readonly TensorSource[];
  /** The last one that has a tensor takes its place, before anything is added. */
  readonly replaced: readonly TensorSource[];
}

interface Measure {
  readonly covered: Covered;
  readonly squares: WideSum;
  maxChange: number;
  changed: number;
}

const newMeasure = (): Measure => ({ covered: new Covered(), squares: new WideSum(), maxChange: 0, changed: 0 });

/** Elements of a range, and of what they are made. */
interface Made {
  readonly old: Uint8Array;
  readonly made: Uint8Array;
  readonly deltas: readonly Float32Array[];
}

/** What was added to an element, before any rounding; of one that another took the place of, its change. */
function addedAt(deltas: readonly Float32Array[], i: number, change: number): number {
  let delta = deltas.length === 0 ? change : 0;
  for (const each of deltas) delta += each[i]!;
  return delta;
}

/** Elements that two parts of an output may both make where it is cut: cuts know nothing of elements. */
const FIRST = 16;
/** Of a tensor in more ranges, none is looked at by itself. */
const MOST_RANGES = 1000;

/** Elements at a time. */
const BLOCK = 2 ** 18;

export class Sum implements TensorSource {
  readonly tensors: TensorSource["tensors"];
  readonly #base: TensorSource;
  readonly #changes: Changes;
  readonly #measures = new Map<string, Measure>();
  /** Of the adapters, for messages. */
  readonly #path: string;

  /** @param base in whose types the sums are */
  constructor(base: TensorSource, changes: Changes, path: string) {
    this.tensors = base.tensors;
    this.#base = base;
    this.#changes = changes;
    this.#path = path;
  }

  /** Null of a tensor that was not read whole. */
  measured(key: string): MergedMeasure | null {
    const measure = this.#measures.get(key);
    return measure === undefined ? null : measureOf([this.#pieceOf(key, measure)]);
  }

  /** Of all that was read. */
  pieces(): MergedPiece[] {
    return [...this.#measures].map(([key, measure]) => this.#pieceOf(key, measure));
  }

  forget(): void {
    this.#measures.clear();
  }

  #pieceOf(key: string, { covered, squares, maxChange, changed }: Measure): MergedPiece {
    const info = this.tensors.get(key)!;
    const hasFirst = covered.ranges.length <= MOST_RANGES;
    const ranges = covered.ranges.map(([begin, end]) => {
      const first = hasFirst && begin > 0 ? this.#first(info, begin, Math.min(end, begin + FIRST)) : [];
      return { begin, end, first };
    });
    return { key, elements: elementCount(info.shape), ranges, sumOfSquares: squares.parts, maxChange, changed };
  }

  #first({ key, dtype }: TensorInfo, begin: number, end: number): MergedRange["first"] {
    if (!isFloat(dtype)) return [];
    const { old, made, deltas } = this.#made(key, dtype, begin, end);
    const [before, after] = [doubles(old, dtype), doubles(made, dtype)];
    return Array.from(after, (value, i) => [addedAt(deltas, i, value - before[i]!) ** 2, value !== before[i]]);
  }

  read(key: string, begin: number, target: Uint8Array): void {
    const info = this.tensors.get(key);
    const has = (source: TensorSource) => source.tensors.has(key);
    if (info === undefined || !isFloat(info.dtype) || ![...this.#changes.added, ...this.#changes.replaced].some(has)) {
      this.#base.read(key, begin, target);
      return;
    }
    const size = FLOAT_BYTES[info.dtype];
    const [first, last] = [Math.floor(begin / size), Math.ceil((begin + target.length) / size)];
    for (let at = first; at < last; at += BLOCK) {
      const end = Math.min(last, at + BLOCK);
      const bytes = this.#range(info, info.dtype, at, end);
      const from = Math.max(begin, at * size);
      const to = Math.min(begin + target.length, end * size);
      target.set(bytes.subarray(from - at * size, to - at * size), from - begin);
    }
  }

  #range({ key }: TensorInfo, dtype: Float, begin: number, end: number): Uint8Array {
    const result = this.#made(key, dtype, begin, end);
    this.#measure(key, dtype, [begin, end], result);
    return result.made;
  }

  #made(key: string, dtype: Float, begin: number, end: number): Made {
    const old = new Uint8Array((end - begin) * FLOAT_BYTES[dtype]);
    this.#base.read(key, begin * FLOAT_BYTES[dtype], old);
    const other = this.#changes.replaced.findLast(({ tensors }) => tensors.has(key));
    const start = other === undefined ? old : readAs(other, key, dtype, begin, end);
    const deltas = this.#changes.added
      .filter(({ tensors }) => tensors.has(key))
      .map((source) => singles(readAs(source, key, "F32", begin, end)));
    return { old, made: deltas.length === 0 ? start : summed(start, dtype, deltas), deltas };
  }

  #measure(key: string, dtype: Float, [begin, end]: readonly [number, number], { old, made, deltas }: Made): void {
    const measure = this.#measures.get(key) ?? newMeasure();
    this.#measures.set(key, measure);
    const fresh = measure.covered.add(begin, end);
    if (fresh.length === 0) return;
    const [before, after] = [doubles(old, dtype), doubles(made, dtype)];
    for (const [from, to] of fresh) {
      const squares = new Float64Array(to - from);
      for (let i = from - begin; i < to - begin; i += 1) {
        const change = after[i]! - before[i]!;
        if (!(Math.abs(change) < Infinity) && Math.abs(before[i]!) < Infinity) throw this.#notFinite(key, after[i]!);
        if (change !== 0) measure.changed += 1;
        if (Math.abs(change) > measure.maxChange) measure.maxChange = Math.abs(change);
        squares[i - from + begin] = addedAt(deltas, i, change) ** 2;
      }
      measure.squares.add(squares);
    }
  }

  #notFinite(key: string, found: number): InputError {
    return new InputError("ADAPTER_NOT_FINITE", `${this.#path}: with it "${key}" would hold ${found}`, {
      tensor: key,
      file: this.#path,
      expected: "finite values, as the base has",
      found: `${found}`,
      help: "the adapter's training diverged, or its values are beyond the range of the base's type: take an earlier step, or a base in bf16 or f32",
    });
  }
}

function readAs(source: TensorSource, key: string, to: Float, begin: number, end: number): Uint8Array {
  const { dtype } = source.tensors.get(key)!;
  if (!isFloat(dtype)) throw new RangeError(`${key} is ${dtype}`);
  const bytes = new Uint8Array((end - begin) * FLOAT_BYTES[dtype]);
  source.read(key, begin * FLOAT_BYTES[dtype], bytes);
  return dtype === to ? bytes : cast(bytes, dtype, to);
}

const singles = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);

function doubles(bytes: Uint8Array, dtype: Float): Float64Array {
  const wide = dtype === "F64" ? bytes : cast(bytes, dtype, "F64");
  return new Float64Array(wide.buffer, wide.byteOffset, wide.length / 8);
}

function summed(start: Uint8Array, dtype: Float, deltas: readonly Float32Array[]): Uint8Array {
  // A sum of an F64 and an F32 is one of F64.
  const values =
    dtype === "F64"
      ? doubles(start.slice(), dtype)
      : singles(dtype === "F32" ? start.slice() : cast(start, dtype, "F32"));
  for (const delta of deltas) for (let i = 0; i < values.length; i += 1) values[i]! += delta[i]!;
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return dtype === "F64" || dtype === "F32" ? bytes : cast(bytes, "F32", dtype);
}
