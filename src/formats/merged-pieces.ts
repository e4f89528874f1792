// What a merge did to a tensor, as far as one process made it: pieces of several processes give what one that made all of it says.
import type { MergedMeasure, MergedPiece } from "./checkpoint.ts";

/** A sum in twice the digits of a number: in whatever order its terms come, its value is the same. */
export class WideSum {
  #high: number;
  #low: number;

  constructor([high, low]: readonly [number, number] = [0, 0]) {
    this.#high = high;
    this.#low = low;
  }

  add(terms: ArrayLike<number>): void {
    let [high, low] = [this.#high, this.#low];
    for (let i = 0; i < terms.length; i += 1) {
      const term = terms[i]!;
      const sum = high + term;
      const own = sum - high;
      low += high - (sum - own) + (term - own);
      high = sum;
    }
    [this.#high, this.#low] = [high, low];
  }

  addSum([high, low]: readonly [number, number]): void {
    this.add([high]);
    this.#low += low;
  }

  get parts(): readonly [high: number, low: number] {
    return [this.#high, this.#low];
  }

  get value(): number {
    return this.#high + this.#low;
  }
}

/** Of a tensor's pieces. Null where they do not show all of it. */
export function measureOf(pieces: readonly MergedPiece[]): MergedMeasure | null {
  const [{ elements } = { elements: 0 }] = pieces;
  // Whoever hashes a tensor for the seal has made all of it, whoever else writes some of it.
  const whole = pieces.find(({ ranges }) => ranges[0]?.begin === 0 && ranges[0].end === elements);
  const taken = whole === undefined ? pieces : [whole];
  const squares = new WideSum();
  let changed = 0;
  for (const piece of taken) {
    squares.addSum(piece.sumOfSquares);
    changed += piece.changed;
  }
  let at = 0;
  for (const { begin, end, first } of taken.flatMap(({ ranges }) => ranges).toSorted((a, b) => a.begin - b.begin)) {
    const twice = at - begin;
    if (twice < 0 || twice > first.length || end < at) return null;
    for (const [square, isChanged] of first.slice(0, twice)) {
      squares.add([-square]);
      changed -= Number(isChanged);
    }
    at = end;
  }
  if (taken.length === 0 || at !== elements) return null;
  return { deltaNorm: Math.sqrt(squares.value), maxChange: Math.max(...taken.map((each) => each.maxChange)), changed };
}
