// Queries or keys in the channel order of the other rotary embedding: not permuted, or permuted twice (llama.cpp#2376,
// maxtext#1774). Same shapes, same values; position 0 is exact and the error grows with position.
import type { TensorFault } from "../fault.ts";
import { toHalves, toPairs } from "../kinds/axes.ts";

/** Channels of a head within which rows go from adjacent pairs to halves, or back; null where they go elsewhere. */
function headOf(order: readonly number[]): number | null {
  for (let head = order.length; head >= 4; head--) {
    if (order.length % head !== 0 || head % 2 !== 0) continue;
    const isOf = (from: (row: number) => number) => order.every((at, row) => at === from(row));
    if (isOf(toHalves(head)) || isOf(toPairs(head))) return head;
  }
  return null;
}

export const ropePermuted: TensorFault<{ readonly head: number }> = {
  code: "ROPE_PERMUTED",
  of: "tensor",
  recognise({ rowOrder }) {
    const head = rowOrder && headOf(rowOrder);
    return head === null ? null : { head };
  },
  words: ({ head }) => `has its rows in the order of the other rotary embedding, in heads of ${head} channels`,
  mend: () =>
    "permute the rows of queries and keys once, in heads of the config's head_dim, keys by their own number of heads",
};
