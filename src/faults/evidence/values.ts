// The values of a tensor as numbers, by ranges: a small one is held, a large one is read where it is looked at.
import { elementCount } from "../../base/dtype.ts";
import { type Float, isFloat } from "../../base/floats.ts";
import { cast, castingRead } from "../../views/cast.ts";
import type { TensorSource } from "../../views/tensor-source.ts";

/** Row-major. */
export interface Values {
  readonly shape: readonly number[];
  readonly count: number;
  /** Fills `target` with the values from `begin` on. */
  read(begin: number, target: Float64Array): void;
}

/** Tensors of so many elements are held whole: 16 MiB. Of larger ones no more than blocks are. */
const MOST_HELD = 1 << 21;
/** Elements read at once. */
export const BLOCK = 1 << 15;

/** Null for types that are no floating point. @param mayHold whether a small tensor is held once it was read */
export function valuesOf(source: TensorSource, key: string, mayHold = true): Values | null {
  const { dtype, shape } = source.tensors.get(key)!;
  if (!isFloat(dtype)) return null;
  const count = elementCount(shape);
  const read = castingRead((...range) => source.read(...range), dtype, "F64");
  const from = (begin: number, target: Float64Array) =>
    read(key, 8 * begin, new Uint8Array(target.buffer, target.byteOffset, target.byteLength));
  if (!mayHold || count > MOST_HELD) return { shape, count, read: from };
  let held: Float64Array | undefined;
  return {
    shape,
    count,
    read(begin, target) {
      if (held === undefined) {
        held = new Float64Array(count);
        from(0, held);
      }
      target.set(held.subarray(begin, begin + target.length));
    },
  };
}

/** The values from `begin` on, as an array of their own. */
export function taken(values: Values, begin: number, count: number): Float64Array {
  const target = new Float64Array(count);
  values.read(begin, target);
  return target;
}

export type Narrowing = { readonly type: "BF16" | "F16"; readonly how: "rounded" | "truncated" };

/** Which side of a pair is the narrower one: `one` is that of the values found. */
export interface Cast extends Narrowing {
  readonly side: "one" | "other";
}

export const NARROWINGS: readonly Narrowing[] = [
  { type: "BF16", how: "rounded" },
  { type: "F16", how: "rounded" },
  { type: "BF16", how: "truncated" },
];

/** What is left of each value. */
export function narrowed(values: Values, narrowing: Narrowing): Values {
  return {
    ...values,
    read(begin, target) {
      values.read(begin, target);
      target.set(narrow(target, narrowing));
    },
  };
}

export function narrow(values: Float64Array, { type, how }: Narrowing): Float64Array {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  if (how === "rounded") return new Float64Array(cast(cast(bytes, "F64", type), type, "F64").buffer);
  const singles = Float32Array.from(values);
  const bits = new Uint32Array(singles.buffer);
  // The upper half of an F32.
  for (let i = 0; i < bits.length; i++) bits[i] = (bits[i]! & 0xffff0000) >>> 0;
  return Float64Array.from(singles);
}

/** Where a tensor is looked at that is too large to be read whole. */
const SAMPLED_BLOCKS = 32;
const MOST_SAMPLED = SAMPLED_BLOCKS * BLOCK;

/** Beginnings of blocks: all of them, or some, evenly over a large tensor, the first and the last among them. */
export function* blocksOf(count: number, sampled = false): Generator<readonly [begin: number, size: number], void> {
  const all = Math.ceil(count / BLOCK);
  const blocks = sampled && count > MOST_SAMPLED ? SAMPLED_BLOCKS : all;
  for (let i = 0; i < blocks; i++) {
    const begin = BLOCK * (blocks === all ? i : Math.floor((i * (all - 1)) / (blocks - 1)));
    yield [begin, Math.min(BLOCK, count - begin)];
  }
}

export const isSampled = (count: number): boolean => count > MOST_SAMPLED;

/** The types that hold all values that were looked at. */
export function typesOf(values: Values): ReadonlySet<Float> {
  const types = new Set<Float>(["F64", "F32", "BF16", "F16"]);
  for (const [begin, size] of blocksOf(values.count, true)) {
    const block = taken(values, begin, size);
    const singles = Float32Array.from(block);
    const bits = new Uint32Array(singles.buffer);
    if (block.some((value, i) => !Object.is(singles[i], value))) types.delete("F32");
    if (!types.has("F32")) types.delete("BF16");
    if (types.has("BF16") && bits.some((word) => (word & 0xffff) !== 0)) types.delete("BF16");
    if (types.has("F16")) {
      const halves = narrow(block, { type: "F16", how: "rounded" });
      if (block.some((value, i) => !Object.is(halves[i], value))) types.delete("F16");
    }
    if (types.size === 1) break;
  }
  if (!types.has("F32")) types.delete("F16");
  return types;
}

/** Distance between neighbouring values of a type, relative to a value. */
const FRACTIONS: Readonly<Record<Float, number>> = { F64: 2 ** -52, F32: 2 ** -23, F16: 2 ** -10, BF16: 2 ** -7 };

/** Of the coarsest type that holds them. */
export function precisionOf(types: ReadonlySet<Float>): number {
  return Math.max(...[...types].map((type) => FRACTIONS[type]));
}
