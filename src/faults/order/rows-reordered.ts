// Rows, heads or experts in another order, as of names that were sorted as text: 0, 1, 10, 11, 2 (torchtitan#2177).
import { keysWhere, reordered, withBytes } from "../edit.ts";
import type { TensorFault } from "../fault.ts";

/** With so many names, text and numbers sort in different orders. */
const FEWEST_ROWS = 11;

/** Which row each row comes from where their numbers are sorted as text. */
export function textOrder(rows: number): readonly number[] {
  return Array.from({ length: rows }, (_, row) => row).sort((a, b) => (`${a}` < `${b}` ? -1 : 1));
}

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
  places: (sample) => keysWhere(sample, ({ shape }) => shape.length > 1 && shape[0]! >= FEWEST_ROWS),
  make(sample, key) {
    const order = textOrder(sample.source.tensors.get(key)!.shape[0]!);
    return withBytes(
      sample,
      key,
      reordered(sample.source, key, (row) => order[row]!),
    );
  },
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
