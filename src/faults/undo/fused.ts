// Tensors that hold several things, joined in another order or grouped in another way: q, k and v, queries and their gates, latents
// and rotated channels, the parts of a delta net.
import type { Sample } from "../fault.ts";
import {
  exchanged,
  isIdentity,
  type Order,
  ordered,
  partsFrom,
  permutationsOf,
  place,
  tensorsWhere,
  within,
} from "./edits.ts";
import { deltaFor, headsFor, isVision, latentFor } from "./parts.ts";
import type { Place, Undoing } from "./undoing.ts";

/** One way in which the rows of a fused tensor are to be read. */
type Ways = Readonly<Record<string, Order>>;

/** Rows of parts in every other order. */
function partOrders(sizes: readonly number[], names: readonly string[]): Ways {
  const all = permutationsOf(sizes.map((_, i) => i)).filter((list) => !isIdentity(list));
  return Object.fromEntries(
    all.map((list) => [`parts as ${list.map((i) => names[i]).join(", ")}`, partsFrom(sizes, list)]),
  );
}

/** Groups that hold `sizes` of each part, against parts one behind another. */
function groupings(groups: number, sizes: readonly number[]): Ways {
  const group = sizes.reduce((a, b) => a + b, 0);
  const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0));
  // Row i of the grouped order, as a row of the order by parts.
  const toParts = Array.from({ length: groups * group }, (_, row) => {
    const [g, at] = [Math.floor(row / group), row % group];
    const part = starts.findLastIndex((start) => start <= at);
    return groups * starts[part]! + g * sizes[part]! + (at - starts[part]!);
  });
  const toGroups = new Array<number>(toParts.length).fill(0);
  for (const [grouped, byParts] of toParts.entries()) toGroups[byParts] = grouped;
  return {
    "grouped by heads where parts should follow each other": (row) => toGroups[row] ?? row,
    "parts one behind another where they should be grouped by heads": (row) => toParts[row] ?? row,
  };
}

function waysOf(sample: Sample, key: string, rows: number): Ways {
  const delta = /\blinear_attn\.(?:in_proj_qkv|conv1d)\./.test(key) ? deltaFor(sample, key) : null;
  if (delta !== null) {
    const { keyHeads, valueHeads, keyDim, valueDim } = delta;
    const sizes = [keyHeads * keyDim, keyHeads * keyDim, valueHeads * valueDim];
    const own = sizes.reduce((a, b) => a + b, 0) === rows;
    if (!own) return {};
    return {
      ...partOrders(sizes, ["q", "k", "v"]),
      ...groupings(
        keyHeads,
        sizes.map((size) => size / keyHeads),
      ),
    };
  }
  const latent = isVision(key) ? null : latentFor(sample, key);
  if (latent !== null) {
    const { kvRank, nope, rope, value, heads } = latent;
    if (/\.kv_a_proj_with_mqa\./.test(key)) return partOrders([kvRank, rope], ["latent", "rotated"]);
    const [sizes, names] = /\.kv_b_proj\./.test(key)
      ? [
          [nope, value],
          ["keys", "values"],
        ]
      : /\.q_(?:b_)?proj\./.test(key)
        ? [
            [nope, rope],
            ["plain", "rotated"],
          ]
        : [[], []];
    const group = sizes.reduce((a, b) => a + b, 0);
    if (group === 0 || heads * group !== rows) return {};
    const inHeads = Object.entries(partOrders(sizes, names)).map(
      ([name, order]) => [`${name} in each head`, within(group, order)] as const,
    );
    return { ...Object.fromEntries(inHeads), ...groupings(heads, sizes) };
  }
  const own = headsFor(sample, key);
  if (own === null) return {};
  const { queries, keys, dim } = own;
  if (/\bself_attn\.q_proj\./.test(key) && rows === 2 * queries * dim) {
    return {
      "query and gate exchanged in each head": within(2 * dim, (i) => (i + dim) % (2 * dim)),
      ...groupings(queries, [dim, dim]),
    };
  }
  const isFused = /\.(?:qkv_proj|qkv|wqkv|query_key_value)\.(?:weight|bias)$/.test(key);
  if (!isFused || rows !== (queries + 2 * keys) * dim) return {};
  const grouped = groupings(keys, [(queries / keys) * dim, dim, dim]);
  if (!/query_key_value/.test(key))
    return { ...partOrders([queries * dim, keys * dim, keys * dim], ["q", "k", "v"]), ...grouped };
  const inHeads = Object.entries(partOrders([dim, dim, dim], ["q", "k", "v"])).map(
    ([name, order]) => [`${name} in each head`, within(3 * dim, order)] as const,
  );
  return { ...Object.fromEntries(inHeads), ...grouped };
}

function placesOf(sample: Sample): Place[] {
  return tensorsWhere(sample, ({ shape }) => shape.length > 0).flatMap(({ key, shape }) =>
    Object.entries(waysOf(sample, key, shape[0]!)).map(([name, order]) => place(name, { [key]: ordered(0, order) })),
  );
}

/** A weight with its bias, or a projection with its convolution. */
function withCompanion(sample: Sample): Place[] {
  const { tensors } = sample.source;
  return placesOf(sample).flatMap(({ how, edits }) => {
    const [key] = edits.keys();
    const other = key!.endsWith(".in_proj_qkv.weight")
      ? key!.replace("in_proj_qkv", "conv1d")
      : key!.replace(/\.weight$/, ".bias");
    const info = other === key ? undefined : tensors.get(other);
    if (info === undefined) return [];
    const order = waysOf(sample, other, info.shape[0]!)[how];
    return order === undefined ? [] : [{ how: `${how}, both`, edits: new Map([...edits, [other, ordered(0, order)]]) }];
  });
}

/** The value heads of a delta net by key heads, or by their place within one. */
function deltaHeads(sample: Sample): Place[] {
  const own = tensorsWhere(sample, ({ key }) => /\blinear_attn\.(?:in_proj_[zab]|A_log|dt_bias)/.test(key));
  return own.flatMap(({ key, shape }) => {
    const delta = deltaFor(sample, key);
    if (delta === null || shape[0]! % delta.valueHeads !== 0) return [];
    const { keyHeads, valueHeads } = delta;
    const size = shape[0]! / valueHeads;
    const blocks =
      (order: Order): Order =>
      (i, outer) =>
        order(Math.floor(i / size), outer) * size + (i % size);
    return [
      place("value heads grouped by their place", {
        [key]: ordered(0, blocks(exchanged(keyHeads, valueHeads / keyHeads))),
      }),
      place("value heads grouped by key heads", {
        [key]: ordered(0, blocks(exchanged(valueHeads / keyHeads, keyHeads))),
      }),
      place("value heads reversed", {
        [key]: ordered(
          0,
          blocks((h) => valueHeads - 1 - h),
        ),
      }),
      place("value heads one too far", {
        [key]: ordered(
          0,
          blocks((h) => (h + 1) % valueHeads),
        ),
      }),
      place("value heads one too early", {
        [key]: ordered(
          0,
          blocks((h) => (h + valueHeads - 1) % valueHeads),
        ),
      }),
    ];
  });
}

const FUSED = {
  code: "FUSED_SPLIT",
  words: "has its parts joined in another order, or grouped in another way",
  mend: "join the parts in the order of this family's fused tensor: each head's together, or one part behind another",
} as const;

export const fused: readonly Undoing[] = [
  { ...FUSED, places: placesOf },
  { ...FUSED, places: withCompanion },
  { ...FUSED, code: "ROWS_REORDERED", words: "has its value heads in another order", places: deltaHeads },
];
