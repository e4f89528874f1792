// How the values of two tensors relate where they differ, in numbers.
import { elementCount } from "../../base/dtype.ts";
import type { Sides } from "./along.ts";
import { blocksOf, isSampled, taken } from "./values.ts";

export interface Measured {
  /** Elements that were looked at: all, or some of a large tensor. */
  readonly of: number;
  readonly all: boolean;
  readonly different: number;
  /** The first element that differs. */
  readonly first: { readonly at: number; readonly expected: number; readonly found: number } | null;
  /** Of those that differ, by least squares. */
  readonly factor: number;
  /** Of all that were looked at. */
  readonly factorOfAll: number;
  readonly meanDifference: number;
  /** Root mean square of the differences, relative to that of the values expected. */
  readonly relative: number;
  /** Of those that differ, about their means. */
  readonly correlation: number;
  /** Indices of the first axis, and of the last one, that hold a difference, of those looked at. */
  readonly outer: Occupied;
  readonly inner: Occupied;
}

export interface Occupied {
  readonly indices: readonly number[];
  readonly of: number;
}

class Axis {
  private readonly seen: Uint8Array;

  constructor(size: number) {
    this.seen = new Uint8Array(size);
  }

  look(at: number, differs: boolean): void {
    if (differs) this.seen[at] = 2;
    else if (this.seen[at] === 0) this.seen[at] = 1;
  }

  get occupied(): Occupied {
    const indices: number[] = [];
    let of = 0;
    for (const [at, seen] of this.seen.entries()) {
      if (seen > 0) of++;
      if (seen === 2) indices.push(at);
    }
    return { indices, of };
  }
}

/** A difference that no sample of a large tensor shows is sought in all of it. */
export function measure(sides: Sides): Measured {
  const measured = measureBlocks(sides, true);
  return measured.different > 0 || measured.all ? measured : measureBlocks(sides, false);
}

function measureBlocks({ expected, found }: Sides, sampled: boolean): Measured {
  const { shape, count } = found;
  const [outerSize, innerSize] = [shape[0] ?? 1, shape.at(-1) ?? 1];
  const width = elementCount(shape.slice(1));
  const [outer, inner] = [new Axis(outerSize), new Axis(innerSize)];
  const sums = { of: 0, n: 0, x: 0, y: 0, xx: 0, yy: 0, xy: 0, dd: 0, allXx: 0, allXy: 0 };
  let first: Measured["first"] = null;
  for (const [begin, size] of blocksOf(count, sampled)) {
    const [xs, ys] = [taken(expected, begin, size), taken(found, begin, size)];
    sums.of += size;
    for (let i = 0; i < size; i++) {
      const [x, y] = [xs[i]!, ys[i]!];
      const differs = !Object.is(x, y);
      sums.allXx += x * x;
      sums.allXy += x * y;
      outer.look(Math.floor((begin + i) / width), differs);
      inner.look((begin + i) % innerSize, differs);
      if (!differs) continue;
      first ??= { at: begin + i, expected: x, found: y };
      sums.n++;
      sums.x += x;
      sums.y += y;
      sums.xx += x * x;
      sums.yy += y * y;
      sums.xy += x * y;
      sums.dd += (y - x) ** 2;
    }
  }
  const { n, x, y, xx, yy, xy, dd } = sums;
  const spread = Math.sqrt((xx - (x * x) / n) * (yy - (y * y) / n));
  return {
    of: sums.of,
    all: !sampled || !isSampled(count),
    different: n,
    first,
    factor: xy / xx,
    factorOfAll: sums.allXy / sums.allXx,
    meanDifference: (y - x) / n,
    relative: Math.sqrt(dd / xx),
    correlation: spread > 0 ? (xy - (x * y) / n) / spread : 0,
    outer: outer.occupied,
    inner: inner.occupied,
  };
}

export interface NotFinite {
  readonly count: number;
  readonly first: Measured["first"];
}

export function notFiniteOf({ expected, found }: Sides): NotFinite {
  let count = 0;
  let first: Measured["first"] = null;
  for (const [begin, size] of blocksOf(found.count)) {
    const [x, y] = [taken(expected, begin, size), taken(found, begin, size)];
    for (let i = 0; i < size; i++) {
      if (Number.isFinite(x[i]) === Number.isFinite(y[i])) continue;
      first ??= { at: begin + i, expected: x[i]!, found: y[i]! };
      count++;
    }
  }
  return { count, first };
}
