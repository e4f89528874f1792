// Factors between two tensors: of each row, of each block of a row, of each column.
import type { Sides } from "./along.ts";
import { taken } from "./values.ts";

export interface Scales {
  readonly of: "row" | "block of a row" | "column";
  readonly least: number;
  readonly most: number;
}

/** A block has at least so many elements: fewer may agree by chance. */
const FEWEST = 8;

/** @param precision distance of neighbouring values, relative to a value */
export function scalesOf(sides: Sides, precision: number): Scales | null {
  const { shape } = sides.found;
  if (shape.length < 2) return null;
  return alongRows(sides, shape.at(-1)!, precision) ?? ofColumns(sides, shape.at(-1)!, precision);
}

class Range {
  least = Infinity;
  most = -Infinity;

  add(factor: number): void {
    this.least = Math.min(this.least, factor);
    this.most = Math.max(this.most, factor);
  }

  /** Whether there are factors that rounding does not make: of single elements it makes two units to either side. */
  isScale(precision: number): boolean {
    const rounding = 4 * precision;
    const furthest = Math.max(Math.abs(this.least - 1), Math.abs(this.most - 1));
    return this.most - this.least > rounding && furthest > rounding;
  }
}

function alongRows({ expected, found }: Sides, width: number, precision: number): Scales | null {
  const range = new Range();
  let isWhole = true;
  for (let begin = 0; begin < found.count; begin += width) {
    const runs = runsOf(taken(expected, begin, width), taken(found, begin, width), precision);
    if (runs.length > Math.max(1, width / FEWEST)) return null;
    if (runs.length > 1) isWhole = false;
    for (const factor of runs) range.add(factor);
  }
  const of = isWhole ? "row" : "block of a row";
  return range.isScale(precision) ? { of, least: range.least, most: range.most } : null;
}

/** Factors of neighbouring elements that have the same one. */
function runsOf(x: Float64Array, y: Float64Array, precision: number): number[] {
  const runs: number[] = [];
  const most = Math.max(1, x.length / FEWEST);
  let factor: number | null = null;
  for (let i = 0; i < x.length && runs.length <= most; i++) {
    if (x[i] === 0 && y[i] === 0) continue;
    const ratio = y[i]! / x[i]!;
    if (factor !== null && Math.abs(ratio - factor) <= 2 * precision * Math.abs(factor)) continue;
    factor = ratio;
    runs.push(ratio);
  }
  return runs;
}

function ofColumns({ expected, found }: Sides, width: number, precision: number): Scales | null {
  const rows = found.count / width;
  if (rows < FEWEST) return null;
  const factors = new Float64Array(width).fill(Number.NaN);
  for (let begin = 0; begin < found.count; begin += width) {
    const [x, y] = [taken(expected, begin, width), taken(found, begin, width)];
    for (let i = 0; i < width; i++) {
      if (x[i] === 0 && y[i] === 0) continue;
      const ratio = y[i]! / x[i]!;
      if (Number.isNaN(factors[i]!)) factors[i] = ratio;
      else if (!(Math.abs(ratio - factors[i]!) <= 2 * precision * Math.abs(factors[i]!))) return null;
    }
  }
  const range = new Range();
  for (const factor of factors) if (!Number.isNaN(factor)) range.add(factor);
  return range.isScale(precision) ? { of: "column", least: range.least, most: range.most } : null;
}
