// What a plan takes for granted about values: aliases equal what they repeat, dropped tensors are what they would be
// re-created as. Both are read in full before anything is written.

import { elementCount } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";
import { FRACTION_BITS, isFloat } from "../base/floats.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";
import type { Dropped } from "../table/move.ts";
import { castingRead } from "./cast.ts";
import type { Mapping } from "./mapping.ts";
import type { TensorSource } from "./tensor-source.ts";

const BLOCK_BYTES = 1 << 20;

/** Bytes read by one step of a check. */
type Steps = Generator<number, void, void>;

/** Bytes that `checkValues` reads. */
export function checkBytes({ source, equalities, dropped }: Mapping): number {
  const size = (key: string) => source.tensors.get(key)?.byteLength ?? 0;
  const ties = equalities.reduce((sum, { alias, of }) => sum + size(alias) + size(of), 0);
  return ties + dropped.reduce((sum, drop) => sum + (isChecked(drop) ? size(drop.key) : 0), 0);
}

const isChecked = ({ equals, derived }: Dropped): boolean => equals !== undefined || derived !== undefined;

/**
 * Yields after each block, with the bytes it read.
 * Throws InputError TIE_BROKEN or DROP_NOT_DEFAULT for the first value that is not as the plan needs it.
 */
export function* checkValues(mapping: Mapping, isWaived: (key: string) => boolean): Steps {
  for (const { alias, of, reason } of mapping.equalities) {
    if (!isWaived(alias)) yield* checkTie(mapping.source, alias, of, reason);
  }
  for (const drop of mapping.dropped) {
    if (isChecked(drop) && !isWaived(drop.key)) yield* checkDrop(mapping.source, drop);
  }
}

/** A tensor of some source. */
export interface Tensor {
  readonly source: TensorSource;
  readonly key: string;
}

/** Returns the index of the first byte that differs; null where the first `byteLength` bytes are equal. */
export function* firstDifference(a: Tensor, b: Tensor, byteLength: number): Generator<number, number | null, void> {
  const size = Math.min(BLOCK_BYTES, byteLength);
  const [left, right] = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)];
  for (let begin = 0; begin < byteLength; begin += BLOCK_BYTES) {
    const count = Math.min(size, byteLength - begin);
    const [x, y] = [left.subarray(0, count), right.subarray(0, count)];
    a.source.read(a.key, begin, x);
    b.source.read(b.key, begin, y);
    if (!x.equals(y)) return begin + x.findIndex((byte, i) => byte !== y[i]);
    yield 2 * count;
  }
  return null;
}

function* checkTie(source: TensorSource, alias: string, of: string, reason: string): Steps {
  const [x, y] = [infoOf(source, alias), infoOf(source, of)];
  const words = ({ dtype, shape }: TensorInfo) => `${dtype} [${shape.join(", ")}]`;
  const same = x.dtype === y.dtype && `${x.shape}` === `${y.shape}`;
  const at = same ? yield* firstDifference({ source, key: alias }, { source, key: of }, x.byteLength) : null;
  if (same && at === null) return;
  const found =
    at === null ? `${words(x)} against ${words(y)}` : `a difference at element ${Math.floor(at / itemBytes(x))}`;
  throw new InputError("TIE_BROKEN", `"${alias}" should equal "${of}" (${reason}), and does not`, {
    tensor: alias,
    expected: `the bytes of "${of}"`,
    found,
    help: `if the model was untied on purpose, set tie_word_embeddings to false in its config; to use "${of}" for both, --allow-drop '${alias}'`,
  });
}

const itemBytes = ({ byteLength, shape }: TensorInfo): number =>
  Math.max(1, byteLength / Math.max(1, elementCount(shape)));

function* checkDrop(source: TensorSource, { key, reason, equals, derived }: Dropped): Steps {
  const info = infoOf(source, key);
  const expected = derived?.();
  const ulp = isFloat(info.dtype) ? 2 ** -FRACTION_BITS[info.dtype] : 0;
  for (const [first, values] of valueBlocks(source, info)) {
    for (const [i, value] of values.entries()) {
      const wanted = expected === undefined ? (equals ?? 0) : (expected[first + i] ?? Number.NaN);
      const close = expected !== undefined && Math.abs(value - wanted) <= Math.max(1e-5, ulp) * Math.abs(wanted);
      if (value !== wanted && !close) throw dropNotDefault(key, reason, { at: first + i, value, wanted });
    }
    yield (values.length / elementCount(info.shape)) * info.byteLength;
  }
}

function dropNotDefault(
  key: string,
  reason: string,
  { at, value, wanted }: { readonly at: number; readonly value: number; readonly wanted: number },
): InputError {
  return new InputError("DROP_NOT_DEFAULT", `"${key}" has no place on the other side (${reason}) and would be lost`, {
    tensor: key,
    expected: `${wanted} at element ${at}`,
    found: String(value),
    help: `if its values may be lost, --allow-drop '${key}'`,
  });
}

/** Values of a tensor in blocks, each with the index of its first; the next block overwrites the last. */
function* valueBlocks(
  source: TensorSource,
  { key, dtype, shape }: TensorInfo,
): Generator<readonly [first: number, values: Float64Array]> {
  if (!isFloat(dtype)) {
    throw new InputError("DROP_NOT_FLOAT", `"${key}" should hold floating-point values`, {
      tensor: key,
      expected: "F64, F32, F16 or BF16",
      found: dtype,
      help: `if it can go, --allow-drop '${key}'`,
    });
  }
  const read = castingRead((name, begin, target) => source.read(name, begin, target), dtype, "F64");
  const count = elementCount(shape);
  const block = new Float64Array(Math.min(count, BLOCK_BYTES / 8));
  for (let first = 0; first < count; first += block.length) {
    const values = block.subarray(0, Math.min(block.length, count - first));
    read(key, first * 8, new Uint8Array(values.buffer, 0, values.byteLength));
    yield [first, values];
  }
}

function infoOf(source: TensorSource, key: string): TensorInfo {
  const info = source.tensors.get(key);
  if (info === undefined) throw new RangeError(`no tensor ${JSON.stringify(key)}`);
  return info;
}
