// Rows of the reference that stand twice, and others that are lost: a shard gathered twice, an expert copied.
import { type Moves, movesOf } from "../evidence/moves.ts";
import type { TensorFault } from "../fault.ts";

export const rowsRepeated: TensorFault<Moves> = {
  code: "ROWS_REPEATED",
  of: "tensor",
  moves: true,
  recognise({ orders, key, names }) {
    for (const along of orders) {
      if (along.others > 0) continue;
      const moves = movesOf(along, key, names.other);
      if (moves.repeated) return moves;
    }
    return null;
  },
  words: ({ what, moved, of, how }, { one, other }) =>
    `has ${moved} of ${of} ${what} in ${one} that are other ones of ${other}, some of them twice: ${how}`,
  mend: () => "gather each shard, row or expert once, from the rank or the name that it has",
};
