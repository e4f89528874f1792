// Rows of a matrix, heads or experts in another order.
import type { Sample } from "../../fault.ts";
import { along, textOrder } from "../axes.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { keysLike } from "../names.ts";

/** With so many names, text and numbers sort in different orders. */
export const FEWEST_NAMES = 11;

const sorted = tensorKind({
  name: "rows-sorted-as-text",
  code: "ROWS_REORDERED",
  about: "rows of a matrix in the order of names sorted as text: 0, 1, 10, 11, 2 (torchtitan#2177)",
  places: (sample: Sample) => keysLike(sample, /./, ({ shape }) => shape.length > 1 && shape[0]! >= FEWEST_NAMES),
  bytes({ source }, key) {
    const order = textOrder(source.tensors.get(key)!.shape[0]!);
    return along(source, key, { axis: 0 }, (row) => order[row]!);
  },
});

export const ROWS: readonly Kind[] = [sorted];
