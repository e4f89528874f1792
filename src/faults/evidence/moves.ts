// Words for parts that moved: what they are called, and which order they stand in.
import type { Along } from "./along.ts";
import { blockOf, digitsOf, divisorsOf, flipped, Order, rolled, textOrder } from "./order.ts";

export interface Moves {
  /** What moved as a whole: rows, blocks of rows, experts. */
  readonly what: string;
  readonly moved: number;
  readonly of: number;
  /** The order they stand in. */
  readonly how: string;
  /** Whether parts of the reference stand more than once. */
  readonly repeated: boolean;
  readonly asText: boolean;
}

/** @param key of the tensor: it says what its parts are called */
export function movesOf({ order, of, axes, others }: Along, key: string, other: string): Moves {
  const largest = others > 0 ? 1 : blockOf(order);
  const text = [1, ...divisorsOf(largest)]
    .map((size) => [size, blocksOf(order, size)] as const)
    .find(([, blocks]) => isAsText(blocks));
  const [size, blocks] = text ?? [largest, blocksOf(order, largest)];
  const asText = text !== undefined;
  return {
    what: nameOf(size, { of, axes, key }),
    moved: blocks.moved.length,
    of: blocks.parts,
    repeated: blocks.repeats,
    asText,
    how: howWords(blocks, { other, asText, others }),
  };
}

/** Blocks of `size` parts that moved as a whole, told by the first part of each. */
function blocksOf(order: Order, size: number): Order {
  const firsts = (hashes: Float64Array) => hashes.filter((_, at) => at % size === 0);
  return size === 1 ? order : new Order(firsts(order.expected), firsts(order.found));
}

function isAsText(order: Order): boolean {
  const text = textOrder(order.parts);
  const back = new Int32Array(text.length);
  for (const [at, from] of text.entries()) back[from] = at;
  return order.is((at) => text[at]!) || order.is((at) => back[at]!);
}

function nameOf(size: number, { of, axes, key }: Pick<Along, "of" | "axes"> & { readonly key: string }): string {
  const inner = axes.slice(1).reduce((product, n) => product * n, 1);
  if (of === "rows" && inner > 1 && size % inner === 0) {
    const slices = /expert/.test(key) ? "experts" : "slices";
    return size === inner ? slices : `blocks of ${size / inner} ${slices}`;
  }
  const name =
    of === "rows" && axes.length === 1 && /expert|router|gate\.weight/.test(key) ? "rows, one an expert," : of;
  return size === 1 ? name : `blocks of ${size} ${of}`;
}

interface Said {
  readonly other: string;
  readonly asText: boolean;
  readonly others: number;
}

function howWords(order: Order, { other, asText, others }: Said): string {
  const { places, moved, parts } = order;
  const [first, second] = moved;
  if (asText) return "as names sorted as text are: 0, 1, 10, 11, 2";
  if (order.is(flipped(parts))) return "from the last one to the first";
  if (moved.length === 2 && places[first!] === second && places[second!] === first)
    return `${first} and ${second} are exchanged`;
  const by = (places[0]! + parts) % parts;
  if (places[0] !== -1 && by > 0 && order.is(rolled(parts, by))) return `moved round by ${Math.min(by, parts - by)}`;
  const digits = digitsOf(order);
  const [inner, outer, ...deeper] = digits ?? [];
  if (inner && outer && deeper.length === 0 && inner.stride > outer.stride && outer.stride > 0) {
    return `as [${outer.size}, ${inner.size}] where ${other} has [${inner.size}, ${outer.size}]`;
  }
  const shift = shiftOf(order);
  const more = others === 0 ? "" : `; ${others} hold${others === 1 ? "s" : ""} other values`;
  if (shift !== null) return `moved by ${Math.abs(shift)}${more}`;
  const at = moved.find((each) => places[each] !== -1)!;
  return `from number ${at} on, which is number ${places[at]} of ${other}${more}`;
}

/** How far all that moved have moved, where it is one way. */
function shiftOf({ places, moved }: Order): number | null {
  const known = moved.filter((at) => places[at] !== -1);
  const by = places[known[0]!]! - known[0]!;
  return known.length > 2 && known.every((at) => places[at]! - at === by) ? by : null;
}

/** "in 3 of 12 such groups, the first one at row 24"; nothing where all are so. */
export function groupWords(groups: readonly number[], size: number, { order, of }: Along): string {
  const all = order.parts / size;
  if (groups.length === all) return "";
  const one = of === "rows" ? "row" : "column";
  return `, in ${groups.length} of ${all} such groups, the first one at ${one} ${groups[0]! * size}`;
}
