// Tensors of a base with what adapters add to them, or put in their place, made as they are read: in F32, rounded once to the
// type of the base, as torch adds an F32 to a narrower tensor in place.
import { elementCount } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";
import { FLOAT_BYTES, type Float, isFloat } from "../base/floats.ts";
import type { MergedMeasure, TensorInfo } from "../formats/checkpoint.ts";
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
  sumOfSquares: number;
  maxChange: number;
  changed: number;
}

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
    const info = this.tensors.get(key);
    if (measure === undefined || info === undefined || measure.covered.total < elementCount(info.shape)) return null;
    const { sumOfSquares, maxChange, changed } = measure;
    return { deltaNorm: Math.sqrt(sumOfSquares), maxChange, changed };
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
    const old = new Uint8Array((end - begin) * FLOAT_BYTES[dtype]);
    this.#base.read(key, begin * FLOAT_BYTES[dtype], old);
    const other = this.#changes.replaced.findLast(({ tensors }) => tensors.has(key));
    const start = other === undefined ? old : readAs(other, key, dtype, begin, end);
    const deltas = this.#changes.added
      .filter(({ tensors }) => tensors.has(key))
      .map((source) => singles(readAs(source, key, "F32", begin, end)));
    const made = deltas.length === 0 ? start : summed(start, dtype, deltas);
    this.#measure(key, dtype, [begin, end], { old, made, deltas });
    return made;
  }

  #measure(
    key: string,
    dtype: Float,
    [begin, end]: readonly [number, number],
    { old, made, deltas }: { old: Uint8Array; made: Uint8Array; deltas: readonly Float32Array[] },
  ): void {
    const measure = this.#measures.get(key) ?? { covered: new Covered(), sumOfSquares: 0, maxChange: 0, changed: 0 };
    this.#measures.set(key, measure);
    const fresh = measure.covered.add(begin, end);
    if (fresh.length === 0) return;
    const [before, after] = [doubles(old, dtype), doubles(made, dtype)];
    for (const [from, to] of fresh) {
      for (let i = from - begin; i < to - begin; i += 1) {
        const change = after[i]! - before[i]!;
        if (!(Math.abs(change) < Infinity) && Math.abs(before[i]!) < Infinity) throw this.#notFinite(key, after[i]!);
        if (change !== 0) measure.changed += 1;
        if (Math.abs(change) > measure.maxChange) measure.maxChange = Math.abs(change);
        let delta = deltas.length === 0 ? change : 0;
        for (const each of deltas) delta += each[i]!;
        measure.sumOfSquares += delta * delta;
      }
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
