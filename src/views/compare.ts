// Two sources of tensors by the same names, compared element by element in bounded memory.

import { bytesPerElement, elementCount } from "../base/dtype.ts";
import { isFloat, valueFromBits } from "../base/floats.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";
import { castingRead } from "./cast.ts";
import type { Difference } from "./difference.ts";
import type { TensorSource } from "./tensor-source.ts";

const BLOCK_ELEMENTS = 1 << 17;

export interface CompareOptions {
  /** Whether any NaN equals any other: casts keep that it is one, not its bits. */
  readonly sameNaN?: boolean;
  /** How values of `a` are called. */
  readonly a?: string;
}

/** Yields after each block, with the bytes it read of both; returns every difference, in the order of `a`. */
export function* compareSources(
  a: TensorSource,
  b: TensorSource,
  options: CompareOptions = {},
): Generator<number, Difference[], void> {
  const differences: Difference[] = [];
  for (const [key, info] of a.tensors) {
    const other = b.tensors.get(key);
    if (other === undefined) differences.push({ key, kind: "missing", detail: `${words(info)} in a, nothing in b` });
    else differences.push(...(yield* compareTensors(a, b, [info, other], options)));
  }
  for (const [key, info] of b.tensors) {
    if (!a.tensors.has(key)) differences.push({ key, kind: "extra", detail: `nothing in a, ${words(info)} in b` });
  }
  return differences;
}

const words = ({ dtype, shape }: TensorInfo): string => `${dtype} [${shape.join(", ")}]`;

/** Yields after each block, with the bytes it read of both. */
export function* compareTensors(
  a: TensorSource,
  b: TensorSource,
  [x, y]: readonly [TensorInfo, TensorInfo],
  options: CompareOptions = {},
): Generator<number, Difference[], void> {
  const { key } = x;
  if (`${x.shape}` !== `${y.shape}`) return [{ key, kind: "shape", detail: `${words(x)} in a, ${words(y)} in b` }];
  if (x.dtype === y.dtype) {
    const found = yield* compareBlocks(a, b, x, { width: bytesPerElement(x.dtype) ?? null, ...options });
    return found === null ? [] : [{ key, kind: "values", detail: valuesDetail(found, x, options) }];
  }
  const types = `${x.dtype} in a, ${y.dtype} in b`;
  if (!isFloat(x.dtype) || !isFloat(y.dtype)) return [{ key, kind: "dtype", detail: types }];
  const found = yield* compareBlocks(widened(a, x), widened(b, y), { ...x, dtype: "F64" }, { width: 8 });
  if (found === null) return [{ key, kind: "dtype", detail: `${types}; the values are equal` }];
  return [
    { key, kind: "dtype", detail: types },
    { key, kind: "values", detail: valuesDetail(found, { ...x, dtype: "F64" }, options) },
  ];
}

/** Every F16, BF16 and F32 is an F64. */
function widened(source: TensorSource, { key, dtype }: TensorInfo): TensorSource {
  if (!isFloat(dtype)) throw new RangeError(`${key} is ${dtype}`);
  const read = castingRead((name, begin, target) => source.read(name, begin, target), dtype, "F64");
  return { tensors: source.tensors, read };
}

interface Found {
  /** First element whose bits differ, and both its values. */
  readonly first: number;
  readonly a: string;
  readonly b: string;
  count: number;
  largest: number;
}

/** `width` is null for types of less than a byte: then elements are bytes. */
function* compareBlocks(
  a: TensorSource,
  b: TensorSource,
  { key, dtype, shape, byteLength }: TensorInfo,
  { width, sameNaN = false }: { readonly width: number | null; readonly sameNaN?: boolean },
): Generator<number, Found | null, void> {
  const total = width === null ? byteLength : elementCount(shape) * width;
  const size = Math.min(total, BLOCK_ELEMENTS * (width ?? 1));
  const [left, right] = [Buffer.alloc(size), Buffer.alloc(size)];
  const values = valueReader(dtype, width ?? 1);
  let found: Found | null = null;
  for (let begin = 0; begin < total; begin += size) {
    const count = Math.min(size, total - begin);
    const [x, y] = [left.subarray(0, count), right.subarray(0, count)];
    a.read(key, begin, x);
    b.read(key, begin, y);
    if (!x.equals(y)) found = addBlock(found, x, y, { begin, width: width ?? 1, values, sameNaN });
    yield 2 * count;
  }
  return found;
}

interface BlockAt {
  readonly begin: number;
  readonly width: number;
  readonly values: (bytes: Buffer, at: number) => number;
  readonly sameNaN: boolean;
}

function addBlock(found: Found | null, x: Buffer, y: Buffer, { begin, width, values, sameNaN }: BlockAt): Found | null {
  let result = found;
  for (let at = 0; at < x.length; at += width) {
    if (x.compare(y, at, at + width, at, at + width) === 0) continue;
    const [a, b] = [values(x, at), values(y, at)];
    if (sameNaN && Number.isNaN(a) && Number.isNaN(b)) continue;
    const apart = Number.isNaN(a - b) ? Infinity : Math.abs(a - b);
    if (result === null) {
      result = { first: (begin + at) / width, a: print(a), b: print(b), count: 1, largest: apart };
    } else {
      result.count += 1;
      if (apart > result.largest) result.largest = apart;
    }
  }
  return result;
}

const print = (value: number): string => (Object.is(value, -0) ? "-0" : String(value));

/** Value of one element; the unsigned integer of its bits where JavaScript has no such number. */
function valueReader(dtype: TensorInfo["dtype"], width: number): BlockAt["values"] {
  switch (dtype) {
    case "F64":
      return (bytes, at) => bytes.readDoubleLE(at);
    case "F32":
      return (bytes, at) => bytes.readFloatLE(at);
    case "BF16":
    case "F16":
      return (bytes, at) => valueFromBits(dtype, bytes.readUInt16LE(at));
    case "I64":
      return (bytes, at) => Number(bytes.readBigInt64LE(at));
    case "I32":
    case "I16":
    case "I8":
      return (bytes, at) => bytes.readIntLE(at, width);
    default:
      return (bytes, at) => (width <= 6 ? bytes.readUIntLE(at, width) : Number(bytes.readBigUInt64LE(at)));
  }
}

function valuesDetail(
  { first, a, b, count, largest }: Found,
  { shape }: TensorInfo,
  { a: name = "a" }: CompareOptions,
): string {
  const total = elementCount(shape);
  const at = `[${coordinates(first, shape).join(", ")}]`;
  return `${count} of ${total} elements differ, first at ${at}: ${a} in ${name}, ${b} in b; largest difference ${largest.toPrecision(3)}`;
}

/** Indices of a row-major element. */
export function coordinates(element: number, shape: readonly number[]): number[] {
  const indices: number[] = [];
  let rest = element;
  for (const size of shape.toReversed()) {
    indices.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return indices;
}
