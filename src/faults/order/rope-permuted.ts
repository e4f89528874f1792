// Queries or keys in the channel order of the other rotary embedding: not permuted, or permuted twice (llama.cpp#2376,
// maxtext#1774). Same shapes, same values; position 0 is exact and the error grows with position.
import type { Along } from "../evidence/along.ts";
import { groupWords } from "../evidence/moves.ts";
import { blockOf, divisorsOf, toHalves, toPairs } from "../evidence/order.ts";
import { isAttention, isMlp } from "../evidence/roles.ts";
import type { TensorFault } from "../fault.ts";

interface Rotary {
  /** Channels that are rotated together. */
  readonly head: number;
  readonly where: string;
  readonly isPart: boolean;
  /** Channels of a head on the other side, where both sides counted heads in two ways. */
  readonly otherHead?: number;
}

/** Rotated channels come in pairs of pairs. */
const FEWEST = 4;
const WAYS = [toHalves, toPairs];

export const ropePermuted: TensorFault<Rotary> = {
  code: "ROPE_PERMUTED",
  of: "tensor",
  moves: true,
  recognise({ rows, key }) {
    // Rows that move in blocks are heads, and no channels of one.
    if (rows === null || rows.others > 0 || isMlp(key) || blockOf(rows.order) > 1) return null;
    const found = wholeGroups(rows) ?? partOfGroups(rows) ?? countedOtherwise(rows);
    if (found === null || isAttention(key)) return found;
    // Under another key, one group of all rows is two halves interleaved, and a small one two rows exchanged.
    return found.head === rows.axes.at(-1) || found.head <= FEWEST ? null : found;
  },
  words: ({ head, where, otherHead }) =>
    otherHead === undefined
      ? `has its rows in the order of the other rotary embedding, in heads of ${head} channels${where}`
      : `has its rows in the order of rotary embeddings of two head counts, in heads of ${head} and of ${otherHead} channels`,
  mend: ({ isPart, otherHead }) => {
    if (otherHead !== undefined)
      return "permute keys in heads of head_dim, too, by num_key_value_heads and not by num_attention_heads";
    return isPart
      ? "permute the rows of all heads of queries and keys once, and of each head the channels that are rotated, no others"
      : "permute the rows of queries and keys once, in heads of the config's head_dim, keys by their own number of heads";
  },
};

function wholeGroups(rows: Along): Rotary | null {
  for (const head of headsOf(rows)) {
    for (const way of WAYS) {
      const groups = rows.order.groupsOf(head, way(head));
      if (groups === null) continue;
      const where = groupWords(groups, head, rows);
      return { head, where, isPart: where !== "" };
    }
  }
  return null;
}

const headsOf = ({ order }: Along): readonly number[] =>
  divisorsOf(order.parts).filter((size) => size >= FEWEST && size % 2 === 0);

/** Of each head some channels alone: those from the first that moved to the last, and one on each side, which stay. */
function partOfGroups({ order }: Along): Rotary | null {
  const { moved, parts } = order;
  let some: Rotary | null = null;
  for (const size of divisorsOf(parts).toReversed()) {
    const within = moved.map((at) => at % size);
    const begin = within.reduce((least, at) => Math.min(least, at), size) - 1;
    const head = within.reduce((most, at) => Math.max(most, at), 0) + 2 - begin;
    if (begin < 0 || begin + head > size || head < FEWEST || head % 2 !== 0 || head === size) continue;
    for (const way of WAYS) {
      const groups = order.groupsOf(size, way(head), begin, head);
      if (groups === null) continue;
      const part = { head, where: `, from channel ${begin} of each ${size} on`, isPart: true };
      if (groups.length === parts / size) return part;
      some ??= part;
    }
  }
  return some;
}

/** Permuted in heads of one size, and back in heads of another: keys by the number of query heads. */
function countedOtherwise(rows: Along): Rotary | null {
  const heads = headsOf(rows);
  for (const head of heads) {
    for (const otherHead of heads) {
      if (head === otherHead) continue;
      const [there, back] = [toPairs(head), toHalves(otherHead)];
      if (rows.order.is((at) => there(back(at)))) return { head, otherHead, where: "", isPart: false };
    }
  }
  return null;
}
