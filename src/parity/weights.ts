// Which weights of two sides differ, and what was done to them: the faults that conversions are known for, each recognised
// by undoing it and finding the same bits.
import { createHash } from "node:crypto";
import { elementCount } from "../base/dtype.ts";
import { isFloat } from "../base/floats.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";
import { inCanonicalOrder } from "../views/canonical-order.ts";
import { castingRead } from "../views/cast.ts";
import { compareTensors } from "../views/compare.ts";
import { dtypeChoice } from "../views/dtypes.ts";
import { mapByTable } from "../views/mapping.ts";
import { virtualSource } from "../views/produce.ts";
import type { TensorSource } from "../views/tensor-source.ts";
import { ANY_NATIVE_LAYOUT, type ParitySide } from "./side.ts";

export interface WeightFault {
  readonly code:
    | "ROPE_PERMUTED"
    | "ROWS_REORDERED"
    | "TENSORS_SWAPPED"
    | "TRANSPOSED"
    | "ROUNDED"
    | "SCALED"
    | "OFFSET"
    | "WEIGHTS_DIFFER";
  /** Hugging Face key. */
  readonly key: string;
  readonly detail: string;
}

interface Matrix {
  readonly values: Float64Array;
  readonly shape: readonly number[];
}

/** Larger tensors are told to differ, and not how. */
const MOST_ELEMENTS = 1 << 26;
/** Of a bf16: what a cast to it can change. */
const HALF_ULP = 2 ** -8;

/**
 * Compares the weights of both sides as Hugging Face has them; of the step that read `suspects`, if they are named.
 * The reference is taken to be right.
 */
export function weightFaults(
  sides: readonly ParitySide[],
  reference: 0 | 1,
  suspects: readonly string[],
): readonly WeightFault[] {
  const [right, other] = [asHf(sides[reference]!), asHf(sides[1 - reference]!)];
  const shared = [...right.tensors.values()].filter((info) => other.tensors.has(info.key));
  const named = shared.filter(({ key }) => suspects.includes(key));
  const candidates = named.length > 0 ? named : shared;
  const different = candidates.filter((info) => !isSame(right, other, info));
  if (different.length === 0) return [];
  const owners = byValues(right, candidates);
  return different.map(({ key }) => describe(key, valuesOf(right, key), valuesOf(other, key), owners));
}

function asHf({ family, layout, checkpoint, model = checkpoint }: ParitySide): TensorSource {
  const source = { tensors: model.tensors, read: model.read.bind(model) };
  if (layout === "hf") return inCanonicalOrder(family, source, ANY_NATIVE_LAYOUT);
  const options = { dtypes: dtypeChoice([]), mixedDtypes: true, buffers: false };
  return virtualSource(mapByTable({ family }, source, layout, "hf", options));
}

function isSame(a: TensorSource, b: TensorSource, info: TensorInfo): boolean {
  const work = compareTensors(a, b, info, b.tensors.get(info.key)!);
  let step = work.next();
  while (!step.done) step = work.next();
  return step.value.every(({ kind }) => kind === "dtype");
}

function valuesOf(source: TensorSource, key: string): Matrix | null {
  const { dtype, shape } = source.tensors.get(key)!;
  const count = elementCount(shape);
  if (count > MOST_ELEMENTS || !isFloat(dtype)) return null;
  const values = new Float64Array(count);
  castingRead((...range) => source.read(...range), dtype, "F64")(key, 0, new Uint8Array(values.buffer));
  return { values, shape };
}

const digestOf = ({ values, shape }: Matrix): string =>
  `${shape} ${createHash("sha256").update(new Uint8Array(values.buffer)).digest("hex")}`;

/** Keys by their values, each tensor read once: a step may have hundreds of experts. */
function byValues(source: TensorSource, candidates: readonly TensorInfo[]): ReadonlyMap<string, string> {
  const keys = new Map<string, string>();
  for (const { key } of candidates) {
    const matrix = valuesOf(source, key);
    if (matrix !== null) keys.set(digestOf(matrix), key);
  }
  return keys;
}

/** @param owners keys of the reference's tensors by their values */
function describe(
  key: string,
  expected: Matrix | null,
  found: Matrix | null,
  owners: ReadonlyMap<string, string>,
): WeightFault {
  if (expected === null || found === null || `${expected.shape}` !== `${found.shape}`) {
    return { key, code: "WEIGHTS_DIFFER", detail: "has other bytes" };
  }
  const owner = owners.get(digestOf(found));
  if (owner !== undefined && owner !== key) {
    return { key, code: "TENSORS_SWAPPED", detail: `holds what belongs to "${owner}"` };
  }
  return { key, ...(reordered(expected, found) ?? recalculated(expected, found)) };
}

type Finding = Omit<WeightFault, "key">;

/** The same rows or the same matrix in another order. */
function reordered(expected: Matrix, found: Matrix): Finding | null {
  const [rows = 1, ...rest] = expected.shape;
  const width = elementCount(rest);
  const order = rowOrder(expected.values, found.values, rows, width);
  if (order !== null) {
    const head = headOf(order);
    if (head !== null) {
      const detail = `has its rows in the order of the other rotary embedding, in heads of ${head} channels`;
      return { code: "ROPE_PERMUTED", detail };
    }
    const first = order.findIndex((from, row) => from !== row);
    const moved = order.filter((from, row) => from !== row).length;
    const detail = `has ${moved} of ${rows} rows in other places, from row ${first} on, which is row ${order[first]} of the reference`;
    return { code: "ROWS_REORDERED", detail };
  }
  if (rest.length !== 1 || rest[0] !== rows) return null;
  const isTransposed = found.values.every((x, i) => x === expected.values[(i % width) * width + Math.floor(i / width)]);
  return isTransposed ? { code: "TRANSPOSED", detail: "is transposed" } : null;
}

/** Which row of `expected` each row of `found` is; null where some is none of them. */
function rowOrder(expected: Float64Array, found: Float64Array, rows: number, width: number): number[] | null {
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

/** Channels of a head within which rows go from adjacent pairs to halves, or back; null where they go elsewhere. */
function headOf(order: readonly number[]): number | null {
  for (let head = order.length; head >= 4; head--) {
    if (order.length % head !== 0 || head % 2 !== 0) continue;
    const half = head / 2;
    const within = (row: number) => row % head;
    const toHalves = (row: number) => row - within(row) + 2 * (within(row) % half) + Math.floor(within(row) / half);
    const toPairs = (row: number) => row - within(row) + half * (within(row) % 2) + Math.floor(within(row) / 2);
    if ([toHalves, toPairs].some((from) => order.every((at, row) => at === from(row)))) return head;
  }
  return null;
}

/** The same numbers rounded, scaled or shifted. */
function recalculated(expected: Matrix, found: Matrix): Finding {
  const [r, x] = [expected.values, found.values];
  const different = r.reduce((count, value, i) => count + (value === x[i] ? 0 : 1), 0);
  const every = (isSo: (value: number, i: number) => boolean) => r.every(isSo);
  if (every((value, i) => Math.abs(x[i]! - value) <= HALF_ULP * Math.abs(value))) {
    return { code: "ROUNDED", detail: `is rounded: ${different} of ${r.length} elements differ, by 2^-8 at most` };
  }
  const at = r.findIndex((value) => value !== 0);
  const factor = x[at]! / r[at]!;
  if (at >= 0 && factor !== 0 && every((value, i) => Math.abs(x[i]! - factor * value) <= HALF_ULP * Math.abs(x[i]!))) {
    return { code: "SCALED", detail: `is ${factor.toPrecision(4)} times as large` };
  }
  const offset = Math.round(x[0]! - r[0]!);
  if (offset !== 0 && every((value, i) => Math.abs(x[i]! - value - offset) <= HALF_ULP * (1 + Math.abs(value)))) {
    return { code: "OFFSET", detail: `is ${Math.abs(offset)} ${offset > 0 ? "more" : "less"} everywhere` };
  }
  return { code: "WEIGHTS_DIFFER", detail: `has other values in ${different} of ${r.length} elements` };
}
