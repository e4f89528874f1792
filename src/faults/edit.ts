// How faults are made: tensors of a source replaced, their rows moved, their values recalculated; fields of a config set.
import { elementCount } from "../base/dtype.ts";
import { isFloat } from "../base/floats.ts";
import type { JsonObject } from "../base/json.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";
import { cast } from "../views/cast.ts";
import type { TensorSource } from "../views/tensor-source.ts";

export interface Change {
  /** A function where they are many: asked for when the tensor is read, and kept until another such tensor is. */
  readonly bytes: Uint8Array | (() => Uint8Array);
  /** dtype and shape, unless they stay. */
  readonly info?: TensorInfo;
}

/** The source with some tensors replaced, added, or (null) taken away. */
export function edited(source: TensorSource, changes: Readonly<Record<string, Change | null>>): TensorSource {
  const tensors = new Map(source.tensors);
  const bytesNow = keptBytes();
  for (const [key, change] of Object.entries(changes)) {
    if (change === null) tensors.delete(key);
    else if (change.info) tensors.set(key, { ...change.info, key });
  }
  return {
    tensors,
    read(key, begin, target) {
      const change = changes[key];
      if (change) target.set(bytesNow(key, change).subarray(begin, begin + target.length));
      else source.read(key, begin, target);
    },
  };
}

/** Bytes of changed tensors; those that are made on demand are held of one tensor at a time. */
function keptBytes(): (key: string, change: Change) => Uint8Array {
  let held: { readonly key: string; readonly bytes: Uint8Array } | null = null;
  return (key, { bytes }) => {
    if (typeof bytes !== "function") return bytes;
    if (held?.key !== key) held = { key, bytes: bytes() };
    return held.bytes;
  };
}

/** Bytes of a whole tensor. */
export function bytesOf(source: TensorSource, key: string): Uint8Array {
  const bytes = new Uint8Array(source.tensors.get(key)!.byteLength);
  source.read(key, 0, bytes);
  return bytes;
}

/**
 * Bytes of a tensor cut into equal parts, in another order: part i of the result is part `order(i)`. Without a number of
 * parts they are its rows, the indices of the first axis.
 */
export function reordered(
  source: TensorSource,
  key: string,
  order: (part: number) => number,
  parts = source.tensors.get(key)!.shape[0]!,
): Uint8Array {
  const bytes = bytesOf(source, key);
  const size = bytes.length / parts;
  const result = new Uint8Array(bytes.length);
  for (let part = 0; part < parts; part++) {
    const from = order(part) * size;
    result.set(bytes.subarray(from, from + size), part * size);
  }
  return result;
}

/** Bytes of a floating-point tensor with each value a function of it and its index, rounded to the tensor's type. */
export function recalculated(source: TensorSource, key: string, value: (x: number, i: number) => number): Uint8Array {
  const { dtype, shape } = source.tensors.get(key)!;
  if (!isFloat(dtype)) throw new RangeError(`${key} is ${dtype}`);
  const values = new Float64Array(elementCount(shape));
  new Uint8Array(values.buffer).set(cast(bytesOf(source, key), dtype, "F64"));
  return cast(new Uint8Array(values.map(value).buffer), "F64", dtype);
}

/** A copy with the lowest bit of one byte changed. */
export function bitFlipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[at] = copy[at]! ^ 1;
  return copy;
}

/** The field's number wherever it stands in the config, nested objects too; undefined where it stands nowhere. */
export function numberIn(config: JsonObject, field: string): number | undefined {
  for (const [name, value] of Object.entries(config)) {
    if (name === field && typeof value === "number") return value;
    const nested = isObject(value) ? numberIn(value, field) : undefined;
    if (nested !== undefined) return nested;
  }
  return undefined;
}

/** The config with `value` wherever the field holds a number. */
export const withNumber = (config: JsonObject, field: string, value: number): JsonObject =>
  Object.fromEntries(
    Object.entries(config).map(([name, old]) => {
      if (name === field && typeof old === "number") return [name, value];
      return [name, isObject(old) ? withNumber(old, field, value) : old];
    }),
  );

const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
