// Queries or keys in the channel order of the other rotary embedding, undone in both directions (llama.cpp#2376, maxtext#1774).
import type { Sample } from "../fault.ts";
import { toHalves, toPairs } from "../kinds/axes.ts";
import { type Order, ordered, place, tensorsWhere } from "./edits.ts";
import { headsFor, isVision, latentFor, rotatedOf } from "./parts.ts";
import type { Place, Undoing } from "./undoing.ts";

/** Rows of a tensor that turn with the position: in heads of so many rows, from one of these on. */
interface Rotary {
  readonly head: number;
  readonly begin: number;
  readonly dims: number;
  /** Rows of the tensor that are heads of this kind. */
  readonly from: number;
  readonly to: number;
  /** `queries`, `keys` */
  readonly of: string;
  /** Heads of queries for each of keys, and how many of these there are. */
  readonly queries: number;
  readonly keys: number;
}

const SPLIT = /(?:^|\.)(?:attn|self_attn)\.([qk])_proj\.(?:weight|bias)$/;
const FUSED = /\.(?:qkv_proj|qkv|wqkv)\.(?:weight|bias)$/;
const PER_HEAD = /\.query_key_value\.(?:weight|bias)$/;
const LATENT = /\.(q_b_proj|q_proj|kv_a_proj_with_mqa)\.weight$/;

function rotaryOf(sample: Sample, key: string, rows: number): Rotary[] {
  const latent = isVision(key) ? null : latentFor(sample, key);
  if (latent !== null) {
    const name = LATENT.exec(key)?.[1];
    const { kvRank, nope, rope, heads } = latent;
    if (name === undefined) return [];
    const isKeys = name === "kv_a_proj_with_mqa";
    const [head, begin] = isKeys ? [kvRank + rope, kvRank] : [nope + rope, nope];
    return [
      { head, begin, dims: rope, from: 0, to: rows, of: isKeys ? "keys" : "queries", queries: heads, keys: heads },
    ];
  }
  const heads = headsFor(sample, key);
  if (heads === null) return [];
  const { queries, keys, dim } = heads;
  const dims = rotatedOf(sample, key, dim);
  const common = { begin: 0, dims, queries, keys };
  const kind = SPLIT.exec(key)?.[1];
  if (kind !== undefined) {
    const isQueries = kind === "q";
    const count = isQueries ? queries : keys;
    // Queries may have a gate of their own in each head.
    return rows % count === 0 && rows / count >= dim
      ? [{ ...common, head: rows / count, from: 0, to: rows, of: isQueries ? "queries" : "keys" }]
      : [];
  }
  if (PER_HEAD.test(key)) {
    return [
      { ...common, head: 3 * dim, from: 0, to: rows, of: "queries" },
      { ...common, head: 3 * dim, begin: dim, from: 0, to: rows, of: "keys" },
    ];
  }
  if (!FUSED.test(key)) return [];
  const split = queries * dim;
  return [
    { ...common, head: dim, from: 0, to: split, of: "queries" },
    { ...common, head: dim, from: split, to: split + keys * dim, of: "keys" },
  ];
}

const inside =
  ({ head, begin, dims, from, to }: Rotary, order: (head: number) => (row: number) => number, only?: number): Order =>
  (row) => {
    if (row < from || row >= to) return row;
    const at = (row - from) % head;
    if (at < begin || at >= begin + dims || (only !== undefined && Math.floor((row - from) / head) !== only))
      return row;
    return row - at + begin + order(dims)(at - begin);
  };

const DIRECTIONS = { "halves from pairs": toHalves, "pairs from halves": toPairs } as const;

const candidates = (sample: Sample) =>
  tensorsWhere(sample, ({ key }) => SPLIT.test(key) || FUSED.test(key) || PER_HEAD.test(key) || LATENT.test(key));

/** Weights and biases go together: a table permutes both, or neither. Some permute the weights alone. */
function placesOf(sample: Sample): Place[] {
  return candidates(sample).flatMap(({ key, shape }) => {
    const parts = rotaryOf(sample, key, shape[0]!).filter(({ dims }) => dims >= 4 && dims % 2 === 0);
    return Object.entries(DIRECTIONS).flatMap(([name, order]) =>
      parts.map((part) =>
        place(parts.length > 1 ? `${name}, ${part.of}` : name, { [key]: ordered(0, inside(part, order)) }),
      ),
    );
  });
}

/** Queries and keys of fused tensors at once. */
function fusedPlaces(sample: Sample): Place[] {
  return candidates(sample).flatMap(({ key, shape }) => {
    const parts = rotaryOf(sample, key, shape[0]!).filter(({ dims }) => dims >= 4 && dims % 2 === 0);
    if (parts.length < 2) return [];
    const [q, k] = parts;
    return Object.entries(DIRECTIONS).map(([name, order]) =>
      place(name, {
        [key]: ordered(0, (row, outer) =>
          row < q!.to && row !== inside(q!, order)(row, outer)
            ? inside(q!, order)(row, outer)
            : inside(k!, order)(row, outer),
        ),
      }),
    );
  });
}

/** In heads of another size: keys as if they had as many heads as queries, and the other way round. */
function otherHeads(sample: Sample): Place[] {
  return candidates(sample).flatMap(({ key, shape }) => {
    if (!SPLIT.test(key)) return [];
    const rows = shape[0]!;
    return rotaryOf(sample, key, rows).flatMap(({ of, queries, keys, head, dims }) => {
      if (queries === keys || dims !== head) return [];
      const other = rows / (of === "keys" ? queries : keys);
      if (!Number.isInteger(other) || other % 2 !== 0 || other < 4) return [];
      const undo = Object.entries(DIRECTIONS).map(([name, order]) =>
        place(`${name} in heads of ${other}`, { [key]: ordered(0, order(other)) }),
      );
      // Permuted by the wrong count where it should be by the right one: that one is made up for.
      const both = (
        [
          ["halves", toHalves, toPairs],
          ["pairs", toPairs, toHalves],
        ] as const
      ).map(([name, away, back]) =>
        place(`${name} in heads of ${other}, which should be of ${head}`, {
          [key]: ordered(0, (row) => away(other)(back(head)(row))),
        }),
      );
      return [...undo, ...both];
    });
  });
}

function singleHeads(sample: Sample): Place[] {
  return candidates(sample).flatMap(({ key, shape }) =>
    rotaryOf(sample, key, shape[0]!).flatMap((part) => {
      if (part.dims < 4 || part.dims % 2 !== 0) return [];
      const heads = (part.to - part.from) / part.head;
      return Array.from({ length: heads > 1 ? heads : 0 }, (_, only) => only).flatMap((only) =>
        Object.entries(DIRECTIONS).map(([name, order]) =>
          place(`${name}, head ${only} of ${part.of}`, { [key]: ordered(0, inside(part, order, only)) }),
        ),
      );
    }),
  );
}

const ROPE = {
  code: "ROPE_PERMUTED",
  isOfScores: true,
  mend: "permute the rows of queries and keys once, in heads of the config's head_dim, keys by their own number of heads",
} as const;

export const rope: readonly Undoing[] = [
  { ...ROPE, words: "has its rows in the order of the other rotary embedding", places: placesOf },
  { ...ROPE, words: "has queries and keys in the order of the other rotary embedding", places: fusedPlaces },
  { ...ROPE, words: "has its rows permuted in heads of the wrong size", places: otherHeads },
  { ...ROPE, words: "has one head in the order of the other rotary embedding", places: singleHeads, alone: true },
];
