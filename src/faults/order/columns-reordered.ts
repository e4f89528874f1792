// Columns in another order: heads of an output projection, shards that were joined along another axis.
import { type Moves, movesOf } from "../evidence/moves.ts";
import type { TensorFault } from "../fault.ts";

export const columnsReordered: TensorFault<Moves> = {
  code: "COLUMNS_REORDERED",
  of: "tensor",
  moves: true,
  recognise({ columns, rows, key, names }) {
    return rows !== null || columns === null ? null : movesOf(columns, key, names.other);
  },
  words: ({ what, moved, of, how }) => `has ${moved} of ${of} ${what} in other places: ${how}`,
  mend: () =>
    "write columns in one order on both sides: heads of an output projection, shards by the number of their rank",
};
