// Checks what a plan assumes about values: an alias equals the tensor that it repeats, a dropped tensor has the values
// that it would be re-created with. Both are read in full before anything is written.

import { type Dtype, elementCount } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";
import { type Float, FRACTION_BITS, isFloat } from "../base/floats.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";
import { keysAtFault } from "../table/faults/fault.ts";
import type { Dropped } from "../table/move.ts";
import { castingRead } from "./cast.ts";
import type { Mapping } from "./mapping.ts";
import type { TensorSource } from "./tensor-source.ts";

const BLOCK_BYTES = 1 << 20;

/** An assumption of a plan that does not hold. */
export interface ValueFault {
  readonly code: "TIE_BROKEN" | "DROP_NOT_DEFAULT" | "DROP_NOT_FLOAT";
  readonly key: string;
  readonly message: string;
  readonly expected: string;
  readonly found: string;
  readonly help: string;
}

const valueFault = (
  code: ValueFault["code"],
  message: string,
  about: Omit<ValueFault, "code" | "message">,
): ValueFault => ({ code, message, ...about });

/** Work that yields the bytes read by each of its steps. */
type Steps<T> = Generator<number, T, void>;

/** Of the aliases and dropped tensors that are to be checked. */
type Wanted = (key: string) => boolean;
const ALL: Wanted = () => true;

/** Bytes that `checkValues` reads. */
export function checkBytes({ source, equalities, dropped }: Mapping, isWanted: Wanted = ALL): number {
  const size = (key: string) => source.tensors.get(key)?.byteLength ?? 0;
  const ties = equalities.filter(({ alias }) => isWanted(alias));
  const drops = dropped.filter((drop) => isChecked(drop) && isWanted(drop.key));
  return (
    ties.reduce((sum, { alias, of }) => sum + size(alias) + size(of), 0) +
    drops.reduce((sum, { key }) => sum + size(key), 0)
  );
}

const isChecked = ({ equals, derived }: Dropped): boolean => equals !== undefined || derived !== undefined;

/** Throws InputError TIE_BROKEN, DROP_NOT_DEFAULT or DROP_NOT_FLOAT for the first value that is not as the plan needs it. */
export function* checkValues(
  mapping: Mapping,
  isWaived: (key: string) => boolean,
  isWanted: Wanted = ALL,
): Steps<void> {
  for (const check of valueChecks(mapping, (key) => isWaived(key) || !isWanted(key))) {
    const fault = yield* check;
    if (fault === null) continue;
    const { code, key: tensor, message, ...details } = fault;
    throw new InputError(code, message, { tensor, ...details });
  }
}

/** Every value that is not as the plan needs it, of tensors that are there as the table has them. */
export function* valueFaults(mapping: Mapping): Steps<ValueFault[]> {
  const faults: ValueFault[] = [];
  for (const check of valueChecks(mapping)) {
    const fault = yield* check;
    if (fault !== null) faults.push(fault);
  }
  return faults;
}

function valueChecks(
  { source, equalities, dropped, faults = [] }: Mapping,
  isLeftOut: (key: string) => boolean = () => false,
): Steps<ValueFault | null>[] {
  const atFault = keysAtFault(faults);
  const ties = equalities.filter(({ alias, of }) => !isLeftOut(alias) && !atFault.has(alias) && !atFault.has(of));
  const drops = dropped.filter((drop) => isChecked(drop) && !isLeftOut(drop.key) && !atFault.has(drop.key));
  return [...ties.map((tie) => checkTie(source, tie)), ...drops.map((drop) => checkDrop(source, drop))];
}

/** The index of the first byte that differs; null where the first `byteLength` bytes of both tensors are equal. */
function* firstDifference(source: TensorSource, a: string, b: string, byteLength: number): Steps<number | null> {
  const size = Math.min(BLOCK_BYTES, byteLength);
  const [left, right] = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)];
  for (let begin = 0; begin < byteLength; begin += BLOCK_BYTES) {
    const count = Math.min(size, byteLength - begin);
    const [x, y] = [left.subarray(0, count), right.subarray(0, count)];
    source.read(a, begin, x);
    source.read(b, begin, y);
    if (!x.equals(y)) return begin + x.findIndex((byte, i) => byte !== y[i]);
    yield 2 * count;
  }
  return null;
}

/** Finds whether an alias has the bytes of the tensor that it repeats. */
export function* checkTie(
  source: TensorSource,
  { alias, of, reason }: Mapping["equalities"][number],
): Steps<ValueFault | null> {
  const [x, y] = [infoOf(source, alias), infoOf(source, of)];
  const words = ({ dtype, shape }: TensorInfo) => `${dtype} [${shape.join(", ")}]`;
  const same = x.dtype === y.dtype && `${x.shape}` === `${y.shape}`;
  const at = same ? yield* firstDifference(source, alias, of, x.byteLength) : null;
  if (same && at === null) return null;
  const found =
    at === null ? `${words(x)} against ${words(y)}` : `a difference at element ${Math.floor(at / itemBytes(x))}`;
  return valueFault("TIE_BROKEN", `"${alias}" should equal "${of}" (${reason}), and does not`, {
    key: alias,
    expected: `the bytes of "${of}"`,
    found,
    help: `if the model was untied on purpose, set tie_word_embeddings to false in its config; to use "${of}" for both, --allow-drop '${alias}'`,
  });
}

const itemBytes = ({ byteLength, shape }: TensorInfo): number =>
  Math.max(1, byteLength / Math.max(1, elementCount(shape)));

function* checkDrop(source: TensorSource, drop: Dropped): Steps<ValueFault | null> {
  const { key, equals, derived } = drop;
  const { dtype, shape, byteLength } = infoOf(source, key);
  if (!isFloat(dtype)) return dropNotFloat(key, dtype);
  const expected = derived?.();
  for (const [first, values] of valueBlocks(source, key, dtype, elementCount(shape))) {
    for (const [i, value] of values.entries()) {
      const wanted = expected === undefined ? (equals ?? 0) : (expected[first + i] ?? Number.NaN);
      const close =
        expected !== undefined &&
        Math.abs(value - wanted) <= Math.max(1e-5, 2 ** -FRACTION_BITS[dtype]) * Math.abs(wanted);
      if (value !== wanted && !close) return dropNotDefault(drop, { at: first + i, value, wanted });
    }
    yield (values.length / elementCount(shape)) * byteLength;
  }
  return null;
}

function dropNotDefault(
  { key, reason, help = `if its values may be lost, --allow-drop '${key}'` }: Dropped,
  { at, value, wanted }: { readonly at: number; readonly value: number; readonly wanted: number },
): ValueFault {
  return valueFault("DROP_NOT_DEFAULT", `"${key}" has no place on the other side (${reason}) and would be lost`, {
    key,
    expected: `${wanted} at element ${at}`,
    found: String(value),
    help,
  });
}

const dropNotFloat = (key: string, dtype: Dtype): ValueFault =>
  valueFault("DROP_NOT_FLOAT", `"${key}" should hold floating-point values`, {
    key,
    expected: "F64, F32, F16 or BF16",
    found: dtype,
    help: `if it can go, --allow-drop '${key}'`,
  });

/** Values of a tensor in blocks, each with the index of its first; the next block overwrites the last. */
function* valueBlocks(
  source: TensorSource,
  key: string,
  dtype: Float,
  count: number,
): Generator<readonly [first: number, values: Float64Array]> {
  const read = castingRead((name, begin, target) => source.read(name, begin, target), dtype, "F64");
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
