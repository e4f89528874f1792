// Parts of a tensor along its axes, on both sides: its rows, what its rows are made of, or its single elements.
import { elementCount } from "../../base/dtype.ts";
import { columnHashes, lineHashes } from "./hashes.ts";
import { Order, type Place } from "./order.ts";
import { BLOCK, blocksOf, taken, type Values } from "./values.ts";

export interface Sides {
  readonly expected: Values;
  readonly found: Values;
}

/** Parts of all rows, or of what rows are made of, in an order that both sides have all parts of. */
export interface Along {
  readonly order: Order;
  readonly of: "rows" | "columns";
  /** Sizes of the axes that the parts lie along. */
  readonly axes: readonly number[];
  /** Places whose part is none of those expected. */
  readonly others: number;
}

/** More parts than this are not told apart. */
const MOST_PARTS = 1 << 21;
/** Larger tensors are not looked at element by element. */
const MOST_ELEMENTS = 1 << 20;
/** Of a large tensor's rows, so many elements are looked at first. */
const FIRST_ELEMENTS = 16;
/** Rows that tell columns apart. */
const LINES = 64;
/** Columns of fewer rows are equal by chance. */
const FEWEST_LINES = 4;
/** The part of what moved that may be of other values, as a row that was lost at the end. */
const MOST_OTHERS = 0.1;

/** Null where rows did not move, or where most of those that differ are none of those expected. */
export function linesOf({ expected, found }: Sides): Along | null {
  const { shape, count } = found;
  const width = shape.length < 2 ? 1 : shape.at(-1)!;
  const lines = count / width;
  if (lines < 2 || lines > MOST_PARTS) return null;
  const axes = shape.length < 2 ? shape : shape.slice(0, -1);
  if (width > 4 * FIRST_ELEMENTS && count > MOST_ELEMENTS) {
    const first = new Order(lineHashes(expected, width, FIRST_ELEMENTS), lineHashes(found, width, FIRST_ELEMENTS));
    if (movedAlong(first, "rows", axes) === null) return null;
  }
  const along = movedAlong(new Order(lineHashes(expected, width), lineHashes(found, width)), "rows", axes);
  // Single numbers are equal by chance.
  return along !== null && width === 1 && along.order.repeats ? null : along;
}

function movedAlong(order: Order, of: Along["of"], axes: readonly number[]): Along | null {
  const { moved, places } = order;
  const others = moved.reduce((sum, at) => sum + (places[at] === -1 ? 1 : 0), 0);
  return moved.length === 0 || others > MOST_OTHERS * moved.length ? null : { order, of, axes, others };
}

/** What each row is made of, moved in all rows that differ in one way: columns, or the indices of several axes. */
export function columnsOf(sides: Sides): Along | null {
  const { shape } = sides.found;
  for (let axis = shape.length - 1; axis > 0; axis--) {
    const axes = shape.slice(axis);
    const width = elementCount(axes);
    if (width < 2 || width > MOST_PARTS / 2) continue;
    const lines = differingLines(sides, width, LINES);
    const order = new Order(columnHashes(sides.expected, width, lines), columnHashes(sides.found, width, lines));
    const along = movedAlong(order, "columns", axes);
    if (along === null || along.others > 0) continue;
    if (lines.length < FEWEST_LINES && order.repeats) continue;
    const { places } = order;
    if (holdsInRows(sides, width, (at) => places[at]!)) return along;
  }
  return null;
}

/** Lines of `width` elements that differ, the first ones. */
function differingLines({ expected, found }: Sides, width: number, most: number): number[] {
  const lines = new Set<number>();
  for (const [begin, size] of blocksOf(found.count)) {
    const [x, y] = [taken(expected, begin, size), taken(found, begin, size)];
    for (let i = 0; i < size; i++) {
      if (x[i] === y[i]) continue;
      const line = Math.floor((begin + i) / width);
      lines.add(line);
      i = (line + 1) * width - begin - 1;
    }
    if (lines.size >= most) break;
  }
  return [...lines].slice(0, most);
}

/** Whether each row of `width` elements is as expected, or has its elements where `place` says. */
function holdsInRows({ expected, found }: Sides, width: number, place: Place): boolean {
  const places = Int32Array.from({ length: width }, (_, at) => place(at));
  const together = Math.max(1, Math.floor(BLOCK / width));
  const lines = found.count / width;
  for (let line = 0; line < lines; line += together) {
    const count = Math.min(together, lines - line);
    const [x, y] = [taken(expected, line * width, count * width), taken(found, line * width, count * width)];
    for (let at = 0; at < x.length; at += width) {
      if (!isRow(x.subarray(at, at + width), y.subarray(at, at + width), places)) return false;
    }
  }
  return true;
}

function isRow(x: Float64Array, y: Float64Array, places: Int32Array): boolean {
  let [stays, moves] = [true, true];
  for (let i = 0; i < y.length && (stays || moves); i++) {
    if (y[i] !== x[i]) stays = false;
    if (y[i] !== x[places[i]!]) moves = false;
  }
  return stays || moves;
}

/** Null where there are too many to look at each. */
export function elementsOf({ expected, found }: Sides): Order | null {
  if (found.count > MOST_ELEMENTS || found.shape.length < 2) return null;
  return new Order(taken(expected, 0, expected.count), taken(found, 0, found.count));
}

/**
 * Whether all slices of the last two axes that differ are, read as [rows, columns], the transposed ones of what is
 * expected. Read in strips: a large tensor is looked at in all its elements, too.
 */
export function isTransposed({ expected, found }: Sides, rows: number, columns: number): boolean {
  const size = rows * columns;
  let differs = false;
  for (let slice = 0; slice < found.count; slice += size) {
    let [stays, moves] = [true, true];
    const strip = Math.max(1, Math.min(rows, Math.floor((16 * BLOCK) / columns)));
    for (let row = 0; row < rows && (stays || moves); row += strip) {
      const count = Math.min(strip, rows - row);
      const y = taken(found, slice + row * columns, count * columns);
      if (stays && !sameValues(taken(expected, slice + row * columns, count * columns), y)) stays = false;
      if (moves && !isStrip(expected, y, { begin: slice + row, rows, columns, count })) moves = false;
    }
    if (!stays && !moves) return false;
    if (!stays) differs = true;
  }
  return differs;
}

interface Strip {
  /** Element of the first one of the strip. */
  readonly begin: number;
  readonly rows: number;
  readonly columns: number;
  readonly count: number;
}

function isStrip(expected: Values, found: Float64Array, { begin, rows, columns, count }: Strip): boolean {
  const line = new Float64Array(count);
  for (let column = 0; column < columns; column++) {
    expected.read(begin + column * rows, line);
    for (let i = 0; i < count; i++) if (found[i * columns + column] !== line[i]) return false;
  }
  return true;
}

const sameValues = (x: Float64Array, y: Float64Array): boolean => x.every((value, i) => value === y[i]);
