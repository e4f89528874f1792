// Rows, heads or experts in another order, as of names that were sorted as text: 0, 1, 10, 11, 2 (torchtitan#2177).
import type { TensorFault } from "../fault.ts";

interface Moved {
  readonly rows: number;
  readonly moved: number;
  /** The first row that moved, and the reference's row that it equals. */
  readonly first: number;
  readonly from: number;
}

export const rowsReordered: TensorFault<Moved> = {
  code: "ROWS_REORDERED",
  of: "tensor",
  recognise({ rowOrder }) {
    if (rowOrder === null) return null;
    const first = rowOrder.findIndex((from, row) => from !== row);
    const moved = rowOrder.filter((from, row) => from !== row).length;
    return { rows: rowOrder.length, moved, first, from: rowOrder[first]! };
  },
  words: ({ rows, moved, first, from }) =>
    `has ${moved} of ${rows} rows in other places, from row ${first} on, which is row ${from} of the reference`,
  mend: () => "write rows, heads or experts in numerical order, none of them padded or left out",
};
