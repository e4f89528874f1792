// One tensor of several parts, queries, keys and values, that was split, joined or grouped in another way.
import type { Segment } from "../evidence/elsewhere.ts";
import { divisorsOf, type Order } from "../evidence/order.ts";
import { isFused, isMlp } from "../evidence/roles.ts";
import type { TensorFault } from "../fault.ts";

/** More runs of rows than these are no parts. */
const MOST_PARTS = 8;
const SHOWN = 3;

export const fusedSplit: TensorFault<{ readonly how: string }> = {
  code: "FUSED_SPLIT",
  of: "tensor",
  moves: true,
  recognise(pair) {
    const { rows, key } = pair;
    if (rows === null) return pair.elsewhere && { how: segmentWords(pair.elsewhere) };
    if (rows.others > 0 || rows.axes.length > 1 || !isFused(key) || isMlp(key)) return null;
    const how = regrouped(rows.order) ?? joined(rows.order);
    return how === null ? null : { how };
  },
  words: ({ how }) => `is split or joined in another way: ${how}`,
  mend: () =>
    "split the fused tensor by the sizes and the order of its parts, group by group where it is grouped, on both sides",
};

function segmentWords(segments: readonly Segment[]): string {
  const words = segments
    .slice(0, SHOWN)
    .map(({ key, begin, rows }) => `rows ${begin} to ${begin + rows - 1} of "${key}"`);
  return `it has ${words.join(", then ")}${segments.length > SHOWN ? " and more" : ""}`;
}

/** Parts one after the other on one side, and group by group on the other. */
function regrouped(order: Order): string | null {
  const { parts } = order;
  for (const groups of divisorsOf(parts)) {
    const size = parts / groups;
    if (size < 2) continue;
    for (const sizes of cuts(order, groups, size)) {
      const places = groupedPlaces(sizes, groups);
      const back = new Int32Array(parts);
      for (const [at, from] of places.entries()) back[from] = at;
      if (!order.is((at) => places[at]!) && !order.is((at) => back[at]!)) continue;
      return `parts of ${sizes.join(", ")} rows lie one after the other on one side, and in ${groups} groups on the other`;
    }
  }
  return null;
}

/** Sizes that the parts of a group can have: the first run of rows says the first one's, the next runs the others'. */
function* cuts({ places, found, expected }: Order, groups: number, size: number): Generator<readonly number[], void> {
  const back = new Int32Array(places.length);
  for (const [at, from] of places.entries()) back[from] = at;
  for (const each of found.length === expected.length ? [places, back] : []) {
    const sizes: number[] = [];
    let begin = 0;
    while (begin < size) {
      const at = begin * groups;
      let run = 1;
      while (begin + run < size && each[at + run] === each[at]! + run) run++;
      sizes.push(run);
      begin += run;
    }
    if (sizes.length > 1 && sizes.length <= MOST_PARTS) yield sizes;
  }
}

/** Which row, group by group, each row has where each part has all groups together. */
function groupedPlaces(sizes: readonly number[], groups: number): Int32Array {
  const size = sizes.reduce((sum, each) => sum + each, 0);
  const places = new Int32Array(size * groups);
  let at = 0;
  let begin = 0;
  for (const part of sizes) {
    for (let group = 0; group < groups; group++) {
      for (let row = 0; row < part; row++) places[at++] = group * size + begin + row;
    }
    begin += part;
  }
  return places;
}

/** A few runs of rows in another order. */
function joined({ places, parts }: Order): string | null {
  const runs: { begin: number; rows: number }[] = [];
  for (let at = 0; at < parts; at++) {
    const last = runs.at(-1);
    if (last !== undefined && places[at] === last.begin + last.rows) last.rows++;
    else runs.push({ begin: places[at]!, rows: 1 });
    if (runs.length > MOST_PARTS) return null;
  }
  const words = runs.map(({ begin, rows }) => `${begin} to ${begin + rows - 1}`);
  return `its rows are the rows ${words.join(", then ")} of the other side`;
}
