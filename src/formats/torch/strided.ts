// Reading any row-major byte range of a tensor that lies in strided chunks, in bounded memory.
import type { StoredRecord } from "../zip/stored-record.ts";

/** Elements of a record as a strided array; strides and offset in elements. */
export interface StridedRecord {
  readonly record: StoredRecord;
  readonly offset: number;
  readonly strides: readonly number[];
}

/** One axis of a nested copy; strides in elements. */
interface Axis {
  readonly size: number;
  readonly from: number;
  readonly to: number;
}

/** Bytes read at once to pick elements from. */
const SCRATCH_BYTES = 1 << 20;
/** A run of this many bytes is read straight to its place. */
const RUN_BYTES = 1 << 17;
/**
 * Where less than one part in this many of a span is wanted, reading its runs one by one costs less than reading the
 * span.
 */
const SPARSE = 32;

let scratch: Uint8Array | undefined;

/**
 * Copies a box of elements: target[targetAt + Σ iₐ·toₐ] = record[offset + Σ iₐ·fromₐ], all in elements of `width` bytes.
 * Reads are in ascending order wherever the record's own order allows it.
 */
export function copyBox(
  source: StoredRecord,
  offset: number,
  axes: readonly Axis[],
  width: number,
  target: Uint8Array,
  targetAt: number,
): void {
  const merged = mergeAxes(axes);
  const inner = merged.at(-1);
  if (inner === undefined || (merged.length === 1 && inner.from === 1 && inner.to === 1)) {
    source.read(offset * width, target.subarray(targetAt * width, (targetAt + (inner?.size ?? 1)) * width));
    return;
  }
  const span = merged.reduce((sum, axis) => sum + (axis.size - 1) * axis.from, 1);
  const count = merged.reduce((product, axis) => product * axis.size, 1);
  const longRuns = inner.from === 1 && inner.to === 1 && inner.size * width >= RUN_BYTES;
  const sparse = span > count * SPARSE && span * width > 1 << 16;
  if (span * width <= SCRATCH_BYTES && !longRuns && !sparse) {
    scratch ??= new Uint8Array(SCRATCH_BYTES);
    source.read(offset * width, scratch.subarray(0, span * width));
    pick(scratch, 0, merged, 0, width, target, targetAt);
    return;
  }
  const widest = merged.reduce((best, axis, i) => (axis.from > merged[best]!.from ? i : best), 0);
  splitBox(source, offset, merged, width, target, targetAt, longRuns ? 0 : widest, longRuns || sparse);
}

/** Cuts a box along an axis, into slices of one element or of as much as fits the scratch buffer. */
function splitBox(
  source: StoredRecord,
  offset: number,
  axes: readonly Axis[],
  width: number,
  target: Uint8Array,
  targetAt: number,
  cut: number,
  single: boolean,
): void {
  const axis = axes[cut]!;
  const rest = axes.reduce((sum, other, i) => (i === cut ? sum : sum + (other.size - 1) * other.from), 1);
  const fitting = Math.floor((SCRATCH_BYTES / width - rest) / Math.max(1, axis.from)) + 1;
  const size = single ? 1 : Math.min(axis.size - 1, Math.max(1, fitting));
  for (let i = 0; i < axis.size; i += size) {
    const slice = { ...axis, size: Math.min(size, axis.size - i) };
    copyBox(source, offset + i * axis.from, axes.with(cut, slice), width, target, targetAt + i * axis.to);
  }
}

/** Drops axes of one element and joins those that are adjacent on both sides. */
function mergeAxes(axes: readonly Axis[]): Axis[] {
  const merged: Axis[] = [];
  for (const axis of axes) {
    if (axis.size === 1) continue;
    const outer = merged.at(-1);
    if (outer !== undefined && outer.from === axis.size * axis.from && outer.to === axis.size * axis.to) {
      merged[merged.length - 1] = { ...axis, size: outer.size * axis.size };
    } else merged.push(axis);
  }
  return merged;
}

function pick(
  from: Uint8Array,
  at: number,
  axes: readonly Axis[],
  depth: number,
  width: number,
  target: Uint8Array,
  targetAt: number,
): void {
  const axis = axes[depth]!;
  if (depth < axes.length - 1) {
    for (let i = 0; i < axis.size; i++) {
      pick(from, at + i * axis.from, axes, depth + 1, width, target, targetAt + i * axis.to);
    }
  } else if (axis.from === 1 && axis.to === 1) {
    target.set(from.subarray(at * width, (at + axis.size) * width), targetAt * width);
  } else {
    for (let i = 0; i < axis.size; i++) {
      const read = (at + i * axis.from) * width;
      const write = (targetAt + i * axis.to) * width;
      for (let b = 0; b < width; b++) target[write + b] = from[read + b]!;
    }
  }
}

/** The strides of a row-major array, in elements. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides: number[] = new Array(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= Math.max(1, shape[axis]!);
  }
  return strides;
}

/**
 * The elements [begin, end) of a row-major array as boxes in ascending order: at most two an axis.
 * `visit` gets the corner and the sizes of a box; both are reused.
 */
export function boxesOfRange(
  shape: readonly number[],
  begin: number,
  end: number,
  visit: (corner: readonly number[], sizes: readonly number[], first: number) => void,
): void {
  const strides = rowMajorStrides(shape);
  const corner: number[] = new Array(shape.length).fill(0);
  const emit = (axis: number, from: number, to: number, base: number): void => {
    if (from >= to) return;
    corner.fill(0, axis + 1);
    corner[axis] = from;
    const sizes = shape.map((n, a) => (a < axis ? 1 : a === axis ? to - from : n));
    visit(corner, sizes, base + from * strides[axis]!);
  };
  // Elements [from, to) of the block that begins at element `base` and spans the axes from `axis` on.
  const descend = (axis: number, from: number, to: number, base: number): void => {
    if (from >= to) return;
    const inner = strides[axis]!;
    const [firstRow, lastRow] = [Math.floor(from / inner), Math.floor(to / inner)];
    const [head, tail] = [firstRow * inner, lastRow * inner];
    const wholeRow = head === from ? firstRow : firstRow + 1;
    if (wholeRow > firstRow) {
      corner[axis] = firstRow;
      descend(axis + 1, from - head, Math.min(to - head, inner), base + head);
    }
    emit(axis, wholeRow, lastRow, base);
    if (tail < to && lastRow >= wholeRow) {
      corner[axis] = lastRow;
      descend(axis + 1, 0, to - tail, base + tail);
    }
  };
  descend(0, begin, end, 0);
}
