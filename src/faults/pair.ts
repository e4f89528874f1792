// A tensor of the reference model and the same tensor of another model: the evidence for a fault of one tensor.
import { createHash } from "node:crypto";
import { elementCount } from "../base/dtype.ts";
import { isFloat } from "../base/floats.ts";
import { castingRead } from "../views/cast.ts";
import type { TensorSource } from "../views/tensor-source.ts";

/** Larger tensors are told to differ, and not how. */
const MOST_ELEMENTS = 1 << 26;
/** Half the distance from 1 to the next bf16: what a cast to it can change, relative to the value. */
export const HALF_ULP = 2 ** -8;

/** Keys of the reference model's tensors by their shape and values. */
export type Owners = ReadonlyMap<string, string>;

/** Each tensor is read once: a step may have hundreds of experts. */
export function ownersOf(source: TensorSource, keys: readonly string[]): Owners {
  const owners = new Map<string, string>();
  for (const key of keys) {
    const values = valuesOf(source, key);
    if (values !== null) owners.set(digestOf(source.tensors.get(key)!.shape, values), key);
  }
  return owners;
}

/** Values of both are row-major. */
export class TensorPair {
  private rows: readonly number[] | null | undefined;

  constructor(
    readonly key: string,
    readonly shape: readonly number[],
    readonly expected: Float64Array,
    readonly found: Float64Array,
    private readonly owners: Owners,
  ) {}

  /** Key of the reference model's tensor that has the values of this one; undefined where none has. */
  get owner(): string | undefined {
    return this.owners.get(digestOf(this.shape, this.found));
  }

  /** Which row (index of the first axis) of `expected` each row of `found` equals; null where a row equals none. */
  get rowOrder(): readonly number[] | null {
    if (this.rows === undefined) this.rows = rowOrder(this);
    return this.rows;
  }

  /** Number of elements that differ. */
  get different(): number {
    return this.sum((expected, found) => (expected === found ? 0 : 1));
  }

  /** Over the elements. */
  sum(of: (expected: number, found: number) => number): number {
    return this.expected.reduce((total, value, i) => total + of(value, this.found[i]!), 0);
  }

  /** Whether `isSo` holds for each expected value and the value found in its place. */
  every(isSo: (expected: number, found: number, i: number) => boolean): boolean {
    return this.expected.every((value, i) => isSo(value, this.found[i]!, i));
  }
}

/** Null where the values cannot be compared one by one: other shapes, no floating point, or too many of them. */
export function pairOf(right: TensorSource, other: TensorSource, key: string, owners: Owners): TensorPair | null {
  const [expected, found] = [valuesOf(right, key), valuesOf(other, key)];
  const [shape, otherShape] = [right, other].map(({ tensors }) => tensors.get(key)!.shape);
  if (expected === null || found === null || `${shape}` !== `${otherShape}`) return null;
  return new TensorPair(key, shape!, expected, found, owners);
}

function valuesOf(source: TensorSource, key: string): Float64Array | null {
  const { dtype, shape } = source.tensors.get(key)!;
  const count = elementCount(shape);
  if (count > MOST_ELEMENTS || !isFloat(dtype)) return null;
  const values = new Float64Array(count);
  castingRead((...range) => source.read(...range), dtype, "F64")(key, 0, new Uint8Array(values.buffer));
  return values;
}

const digestOf = (shape: readonly number[], values: Float64Array): string =>
  `${shape} ${createHash("sha256").update(new Uint8Array(values.buffer)).digest("hex")}`;

function rowOrder({ shape: [rows = 1, ...rest], expected, found }: TensorPair): number[] | null {
  const width = elementCount(rest);
  const textOf = (values: Float64Array, row: number) =>
    Buffer.from(values.buffer, 8 * row * width, 8 * width).toString("latin1");
  const places = new Map<string, number[]>();
  for (let row = rows - 1; row >= 0; row--) {
    const text = textOf(expected, row);
    places.set(text, [...(places.get(text) ?? []), row]);
  }
  const order: number[] = [];
  for (let row = 0; row < rows; row++) {
    const at = places.get(textOf(found, row))?.pop();
    if (at === undefined) return null;
    order.push(at);
  }
  return order;
}
