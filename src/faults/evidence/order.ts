// Parts of a tensor that stand in another order: which order, told from the parts alone.

/** Which part of the one side stands at each place of the other. */
export type Place = (at: number) => number;

/** Fingerprints of as many parts on both sides. */
export class Order {
  private from: Int32Array | null | undefined;

  constructor(
    readonly expected: Float64Array,
    readonly found: Float64Array,
  ) {}

  get parts(): number {
    return this.found.length;
  }

  /** Whether each part found is the one expected that `place` says. */
  is(place: Place): boolean {
    const { expected, found } = this;
    for (let i = 0; i < found.length; i++) if (found[i] !== expected[place(i)]) return false;
    return true;
  }

  /**
   * Groups of `size` parts within which `place` holds, all others being as expected; null where a group is neither. A
   * group with `place` has parts at `begin` up to `begin + length`; other parts of it stay.
   */
  groupsOf(size: number, place: Place, begin = 0, length = size): readonly number[] | null {
    const { expected, found } = this;
    const groups: number[] = [];
    for (let at = 0; at < found.length; at += size) {
      let [stays, moves] = [true, true];
      for (let i = 0; i < size && (stays || moves); i++) {
        const inside = i >= begin && i < begin + length;
        const from = inside ? begin + place(i - begin) : i;
        if (found[at + i] !== expected[at + i]) stays = false;
        if (found[at + i] !== expected[at + from]) moves = false;
      }
      if (!stays && !moves) return null;
      if (!stays) groups.push(at / size);
    }
    return groups.length === 0 ? null : groups;
  }

  /** Which part each place holds, -1 where it is none of those expected. A part stays where it is if it can. */
  get places(): Int32Array {
    this.from ??= placesOf(this.expected, this.found);
    return this.from;
  }

  /** Whether a part stands in two places: then another one stands in none. */
  get repeats(): boolean {
    const seen = new Set<number>();
    return this.places.some((from) => from !== -1 && seen.size === seen.add(from).size);
  }

  /** Places that hold another part than expected. */
  get moved(): readonly number[] {
    const moved: number[] = [];
    for (let i = 0; i < this.parts; i++) if (this.found[i] !== this.expected[i]) moved.push(i);
    return moved;
  }
}

function placesOf(expected: Float64Array, found: Float64Array): Int32Array {
  const free = new Map<number, number[]>();
  for (let i = expected.length - 1; i >= 0; i--) {
    if (expected[i] === found[i]) continue;
    const of = free.get(expected[i]!);
    if (of === undefined) free.set(expected[i]!, [i]);
    else of.push(i);
  }
  const any = new Map<number, number>();
  for (let i = expected.length - 1; i >= 0; i--) any.set(expected[i]!, i);
  return Int32Array.from(found, (hash, i) => {
    if (hash === expected[i]) return i;
    return free.get(hash)?.pop() ?? any.get(hash) ?? -1;
  });
}

/** Which part each comes from where halves (x₁ … x₁' …) become adjacent pairs (x₁ x₁' …) in every group of `size`. */
export const toPairs =
  (size: number): Place =>
  (at) => {
    const within = at % size;
    return at - within + (size / 2) * (within % 2) + Math.floor(within / 2);
  };

/** The way back: adjacent pairs become halves. */
export const toHalves =
  (size: number): Place =>
  (at) => {
    const within = at % size;
    return at - within + 2 * (within % (size / 2)) + Math.floor(within / (size / 2));
  };

export const flipped =
  (size: number): Place =>
  (at) =>
    size - 1 - at;

/** Moved round, so that `by` comes first. */
export const rolled =
  (size: number, by: number): Place =>
  (at) =>
    (at + by) % size;

/** Which part each comes from where their numbers are sorted as text: 0, 1, 10, 11, 2. */
export function textOrder(parts: number): readonly number[] {
  return Array.from({ length: parts }, (_, part) => part).sort((a, b) => (`${a}` < `${b}` ? -1 : 1));
}

/** Of an axis, or of a part of one: how many parts, and how far apart its neighbours are among those expected. */
export interface Digit {
  readonly size: number;
  readonly stride: number;
}

/** The order as axes, the innermost first, that are gone through with other strides; null where it is none such. */
export function digitsOf({ places, parts }: Order): readonly Digit[] | null {
  const base = places[0]!;
  const digits: Digit[] = [];
  let block = 1;
  while (block < parts) {
    const left = parts / block;
    const stride = places[block]! - base;
    let run = 1;
    while (run < left && places[run * block] === base + run * stride) run++;
    while (left % run !== 0) run--;
    if (run < 2) return null;
    digits.push({ size: run, stride });
    block *= run;
  }
  return places.every((from, at) => from === base + offsetOf(digits, at)) ? digits : null;
}

function offsetOf(digits: readonly Digit[], at: number): number {
  let rest = at;
  let offset = 0;
  for (const { size, stride } of digits) {
    offset += (rest % size) * stride;
    rest = Math.floor(rest / size);
  }
  return offset;
}

/** Divisors of a number, from the largest on, 1 left out. */
export function divisorsOf(n: number): readonly number[] {
  const small: number[] = [];
  for (let i = 1; i * i <= n; i++) if (n % i === 0) small.push(i);
  return [...new Set([...small.map((i) => n / i), ...small.toReversed()])].filter((i) => i > 1);
}

/** The largest size of blocks that moved as a whole. */
export function blockOf({ places, parts }: Order): number {
  return (
    divisorsOf(parts).find((size) =>
      places.every((from, at) => (from - at) % size === 0 && sameBlock(places, at, size)),
    ) ?? 1
  );
}

const sameBlock = (places: Int32Array, at: number, size: number): boolean =>
  at % size === 0 || places[at]! === places[at - 1]! + 1;
