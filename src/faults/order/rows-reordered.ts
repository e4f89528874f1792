// Rows, heads or experts in another order, as of names that were sorted as text: 0, 1, 10, 11, 2 (torchtitan#2177).
import { type Moves, movesOf } from "../evidence/moves.ts";
import type { TensorFault } from "../fault.ts";

export const rowsReordered: TensorFault<Moves> = {
  code: "ROWS_REORDERED",
  of: "tensor",
  moves: true,
  recognise: ({ rows, key, names }) => rows && movesOf(rows, key, names.other),
  words: ({ what, moved, of, how }) => `has ${moved} of ${of} ${what} in other places: ${how}`,
  mend: ({ asText }) =>
    asText
      ? "sort names by their numbers, and not as text"
      : "write rows, heads or experts in one order on both sides, none of them padded or left out",
};
