// Rows, columns, heads or shards in another order, undone: names sorted as text, ranks the wrong way round, heads grouped otherwise.
import type { TensorInfo } from "../../formats/checkpoint.ts";
import type { Sample } from "../fault.ts";
import { textOrder } from "../kinds/axes.ts";
import { distinct, exchanged, inBlocks, inverse, listed, type Order, ordered, place, tensorsWhere } from "./edits.ts";
import { expertPartOf, headsFor, latentFor } from "./parts.ts";
import type { Place, Undoing } from "./undoing.ts";

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Orders of a number of things, as where each of the right order is found. */
function ordersOf(count: number): Readonly<Record<string, readonly number[]>> {
  const all = numbers(count);
  const text = textOrder(count);
  const isEven = count % 2 === 0;
  return distinct(
    Object.entries({
      "sorted as text": inverse(text),
      "sorted as numbers where they should be as text": text,
      reversed: all.toReversed(),
      "one too far": all.map((i) => (i + 1) % count),
      "one too early": all.map((i) => (i + count - 1) % count),
      "halves exchanged": isEven ? all.map((i) => (i + count / 2) % count) : all,
      "neighbours exchanged": isEven ? all.map((i) => i ^ 1) : all,
      "halves from interleaved": isEven ? all.map((i) => exchanged(2, count / 2)(i, 0)) : all,
      "interleaved from halves": isEven ? all.map((i) => exchanged(count / 2, 2)(i, 0)) : all,
      "first two exchanged": all.map((i) => (i < 2 ? 1 - i : i)),
    }),
  );
}

/** Matrices that no fused table of experts or a convolution is; each expert's own among them would be too many. */
const matrices = (sample: Sample): TensorInfo[] =>
  tensorsWhere(sample, ({ key, shape }) => shape.length === 2 && expertPartOf(key) === null);

const alongAxis =
  (axis: number, isMeant: (name: string) => boolean) =>
  (sample: Sample): Place[] =>
    matrices(sample).flatMap(({ key, shape }) =>
      Object.entries(ordersOf(shape[axis]!))
        .filter(([name]) => isMeant(name))
        .map(([name, list]) => place(name, { [key]: ordered(axis, listed(list)) })),
    );

/** Queries, keys, values and the columns of the output in whole heads. */
function inHeads(sample: Sample): Place[] {
  const own = tensorsWhere(sample, ({ key }) =>
    /\.(?:[qkvo]_proj|dense|proj|wo|out_proj|q_b_proj|kv_b_proj)\.(?:weight|bias)$/.test(key),
  );
  return own.flatMap(({ key, shape }) => {
    const heads = headsFor(sample, key);
    if (heads === null) return [];
    const isOutput = /\.(?:o_proj|dense|proj|wo|out_proj)\.weight$/.test(key);
    const axis = isOutput ? 1 : 0;
    if (shape[axis] === undefined || (isOutput && shape.length < 2)) return [];
    const latent = latentFor(sample, key);
    const isKeys = latent === null && /\.[kv]_proj\./.test(key);
    const count = isKeys ? heads.keys : heads.queries;
    const size = shape[axis]! / count;
    if (!Number.isInteger(size) || count < 2) return [];
    const groups = heads.queries / heads.keys;
    const grouped: Readonly<Record<string, Order>> =
      isKeys || groups === 1 || heads.keys === 1
        ? {}
        : {
            "heads grouped by their place in the group": exchanged(heads.keys, groups),
            "heads grouped by their keys": exchanged(groups, heads.keys),
          };
    const orders = Object.entries(ordersOf(count)).map(([name, list]) => [`heads ${name}`, listed(list)] as const);
    const channels: [string, Order] = ["channels of heads before heads", (i) => exchanged(size, count)(i, 0)];
    const back: [string, Order] = ["heads before channels of heads", (i) => exchanged(count, size)(i, 0)];
    return [
      ...[...orders, ...Object.entries(grouped)].map(([name, order]) =>
        place(name, {
          [key]: ordered(
            axis,
            inBlocks(size, (head) => order(head, 0)),
          ),
        }),
      ),
      ...[channels, back].map(([name, order]) => place(name, { [key]: ordered(axis, order) })),
    ];
  });
}

const TEXT = (name: string) => name.startsWith("sorted");
const RANKS = (name: string) => name === "halves exchanged";
const REST = (name: string) => !TEXT(name) && !RANKS(name) && name !== "first two exchanged";

const ROWS = {
  code: "ROWS_REORDERED",
  mend: "write rows, heads or shards in numerical order, none of them padded or left out",
} as const;
const COLUMNS = { ...ROWS, code: "COLUMNS_REORDERED" } as const;

export const orders: readonly Undoing[] = [
  {
    ...ROWS,
    words: "has its heads in another order",
    places: (s) => inHeads(s).filter((p) => !isColumns(p)),
  },
  {
    ...COLUMNS,
    words: "has the columns of its heads in another order",
    places: (s) => inHeads(s).filter(isColumns),
  },
  { ...ROWS, words: "has its rows sorted as text", places: alongAxis(0, TEXT) },
  {
    ...ROWS,
    code: "HALVES_SWAPPED",
    words: "has the halves of its rows exchanged",
    places: alongAxis(0, RANKS),
  },
  {
    ...COLUMNS,
    code: "HALVES_SWAPPED",
    words: "has the halves of its columns exchanged",
    places: alongAxis(1, RANKS),
  },
  { ...ROWS, words: "has its rows in another order", places: alongAxis(0, REST) },
  { ...COLUMNS, words: "has its columns in another order", places: alongAxis(1, REST) },
];

const isColumns = ({ edits }: Place): boolean =>
  [...edits.keys()].some((key) => /\.(?:o_proj|dense|proj|wo|out_proj)\.weight$/.test(key));
