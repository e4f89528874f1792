// Rows that a trainer puts behind the vocabulary, so that its size divides by something. A model does not have them: they are
// cut off as tensors are read, and what they hold is looked at before anything is written without them.
import { type Dtype, elementCount } from "../../base/dtype.ts";
import { InputError } from "../../base/errors.ts";
import { isFloat } from "../../base/floats.ts";
import type { Layout, RunConfig } from "../../family/layout.ts";
import { castingRead } from "../../views/cast.ts";
import { type TensorSource, tensorInfo } from "../../views/tensor-source.ts";

/** A tensor with more rows than the model has. */
export interface Padding {
  readonly key: string;
  readonly dtype: Dtype;
  /** Of the model, and of the tensor. */
  readonly rows: number;
  readonly all: number;
  /** Elements of a row. */
  readonly width: number;
  /** Whether the run that saved it says that these rows are padding. */
  readonly told: boolean;
  readonly source: TensorSource;
}

/** @param vocabulary what the run says of it */
export function paddingOf(source: TensorSource, layout: Layout, vocabulary: RunConfig["vocabulary"]): Padding[] {
  if (layout.side !== "native") return [];
  const there = [...(layout.padded?.() ?? [])].flatMap(([key, rows]) => {
    const info = source.tensors.get(key);
    return info === undefined ? [] : [{ key, rows, info }];
  });
  // A trainer pads them alike: where only one has more rows, its shape is wrong, and the table says so.
  if (new Set(there.map(({ info }) => info.shape[0])).size > 1) return [];
  return there.flatMap(({ key, rows, info }) => {
    const [all = 0, ...row] = info.shape;
    if (row.length !== 1 || all <= rows || !isFloat(info.dtype)) return [];
    const told = vocabulary?.rows === all && Math.ceil(rows / vocabulary.multiple) * vocabulary.multiple === all;
    return [{ key, dtype: info.dtype, rows, all, width: elementCount(row), told, source }];
  });
}

/** The tensors without these rows, which come last. */
export function cutRows(source: TensorSource, padding: readonly Padding[]): TensorSource {
  if (padding.length === 0) return source;
  const cut = padding.map(({ key, dtype, rows, width }) => [key, tensorInfo(key, dtype, [rows, width])] as const);
  const tensors = new Map([...source.tensors, ...cut]);
  return { tensors, read: (key, begin, target) => source.read(key, begin, target) };
}

export const paddingNotes = (padding: readonly Padding[]): string[] =>
  padding.map(
    ({ key, rows, all }) => `"${key}" has ${all} rows, the model ${rows}: what pads the vocabulary is left out`,
  );

/** Of rows next to them, so many times less is nothing that was learnt. */
const SMALL = 1 / 8;

/** Yields bytes read. Throws InputError PADDING_IN_USE for rows that hold what rows of the vocabulary hold. */
export function* checkPadding(
  padding: readonly Padding[],
  isWaived: (key: string) => boolean,
): Generator<number, void> {
  const [first] = yield* paddingFaults(padding.filter(({ key }) => !isWaived(key)));
  if (first !== undefined) throw first;
}

/** Yields bytes read; gives what `checkPadding` throws, of each tensor. */
export function* paddingFaults(padding: readonly Padding[]): Generator<number, InputError[]> {
  const faults = padding.flatMap((one) => (one.told ? [] : (faultOf(one) ?? [])));
  yield padding.reduce((sum, { all, rows, width }) => sum + (all - rows) * width, 0);
  return faults;
}

function faultOf(one: Padding): InputError | null {
  const { rows, all } = one;
  const count = all - rows;
  const rest = rowsOf(one, rows, count);
  const before = rowsOf(one, Math.max(0, rows - count), Math.min(rows, count));
  if (areAlike(rest, one.width) && (count > 1 || isCopy(rest, before))) return null;
  const [theirs, ours] = [rootMeanSquare(rest), rootMeanSquare(before)];
  return theirs <= SMALL * ours ? null : inUse(one, theirs, ours);
}

function rowsOf({ key, dtype, width, source }: Padding, first: number, count: number): Float64Array {
  const values = new Float64Array(count * width);
  if (!isFloat(dtype)) return values;
  const read = castingRead((name, begin, target) => source.read(name, begin, target), dtype, "F64");
  read(key, first * width * 8, new Uint8Array(values.buffer));
  return values;
}

/** Of a single row only that of the vocabulary's last, which some converters repeat, tells that nothing was learnt. */
const isCopy = (row: Float64Array, last: Float64Array): boolean => row.every((value, i) => value === last[i]);

/** Zeros, or one row again and again. */
const areAlike = (values: Float64Array, width: number): boolean =>
  values.every((value, i) => Object.is(value, values[i % width]) || value === values[i % width]);

const rootMeanSquare = (values: Float64Array): number =>
  Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / Math.max(1, values.length));

const inUse = ({ key, rows, all }: Padding, theirs: number, ours: number): InputError =>
  new InputError(
    "PADDING_IN_USE",
    `"${key}" has ${all} rows, the config's vocab_size is ${rows}, and rows ${rows} to ${all - 1} look trained`,
    {
      tensor: key,
      expected: "rows of zeros, or all alike, behind the vocabulary",
      found: `values of ${theirs.toPrecision(3)} there, of ${ours.toPrecision(3)} in the rows before (root mean square)`,
      help: `if the model has these tokens, give a config whose vocab_size is ${all}; if they are what initialisation left, --allow-drop '${key}'`,
    },
  );
