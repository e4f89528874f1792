// Ranges that were seen, so that what is read twice is counted once.

export class Covered {
  /** Apart and in ascending order. */
  #ranges: (readonly [begin: number, end: number])[] = [];

  /** The parts of a range that were not seen before; from now on they were. */
  add(begin: number, end: number): readonly (readonly [begin: number, end: number])[] {
    if (begin >= end) return [];
    const fresh: [number, number][] = [];
    const before = this.#ranges.filter((range) => range[1] < begin);
    const after = this.#ranges.filter((range) => range[0] > end);
    const touched = this.#ranges.slice(before.length, this.#ranges.length - after.length);
    let at = begin;
    for (const [from, to] of touched) {
      if (from > at) fresh.push([at, Math.min(from, end)]);
      at = Math.max(at, to);
    }
    if (at < end) fresh.push([at, end]);
    const first = Math.min(begin, touched[0]?.[0] ?? begin);
    const last = Math.max(end, touched.at(-1)?.[1] ?? end);
    this.#ranges = [...before, [first, last], ...after];
    return fresh;
  }

  get ranges(): readonly (readonly [begin: number, end: number])[] {
    return this.#ranges;
  }
}
