// Queries or keys in the channel order of the other rotary embedding: not permuted, or permuted twice (llama.cpp#2376,
// maxtext#1774). Same shapes, same values; position 0 is exact and the error grows with position.
import { keysWhere, numberIn, reordered, withBytes } from "../edit.ts";
import type { Sample, TensorFault } from "../fault.ts";

type Order = (row: number) => number;

/** Which row each row comes from where halves (x₁ … x₁' …) become adjacent pairs (x₁ x₁' …) in every head. */
export const toPairs =
  (head: number): Order =>
  (row) => {
    const within = row % head;
    return row - within + (head / 2) * (within % 2) + Math.floor(within / 2);
  };

/** The way back: adjacent pairs become halves. */
export const toHalves =
  (head: number): Order =>
  (row) => {
    const within = row % head;
    return row - within + 2 * (within % (head / 2)) + Math.floor(within / (head / 2));
  };

/** Channels of a head within which rows go from adjacent pairs to halves, or back; null where they go elsewhere. */
function headOf(order: readonly number[]): number | null {
  for (let head = order.length; head >= 4; head--) {
    if (order.length % head !== 0 || head % 2 !== 0) continue;
    const isOf = (from: Order) => order.every((at, row) => at === from(row));
    if (isOf(toHalves(head)) || isOf(toPairs(head))) return head;
  }
  return null;
}

/** As transformers reads it: `head_dim`, or the hidden size over the query heads. */
function headDim({ config }: Sample): number {
  const given = numberIn(config, "head_dim");
  return given ?? (numberIn(config, "hidden_size") ?? 0) / (numberIn(config, "num_attention_heads") ?? 1);
}

export const ropePermuted: TensorFault<{ readonly head: number }> = {
  code: "ROPE_PERMUTED",
  of: "tensor",
  places(sample) {
    const head = headDim(sample);
    if (head < 4 || head % 2 !== 0) return [];
    return keysWhere(sample, ({ key, shape }) => /\.[qk]_proj\.weight$/.test(key) && shape[0]! % head === 0);
  },
  make: (sample, key) => withBytes(sample, key, reordered(sample.source, key, toPairs(headDim(sample)))),
  recognise({ rowOrder }) {
    const head = rowOrder && headOf(rowOrder);
    return head === null ? null : { head };
  },
  words: ({ head }) => `has its rows in the order of the other rotary embedding, in heads of ${head} channels`,
  mend: () =>
    "permute the rows of queries and keys once, in heads of the config's head_dim, keys by their own number of heads",
};
