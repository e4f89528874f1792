// Axes in another order: patch embeddings [channel, time, height, width], position tables, what a merger joins.
import { blockOf, type Digit, digitsOf, type Order } from "../evidence/order.ts";
import { isAttention } from "../evidence/roles.ts";
import type { TensorFault } from "../fault.ts";

interface Axes {
  readonly of: "rows" | "columns" | "elements";
  readonly found: string;
  readonly expected: string;
}

export const axesPermuted: TensorFault<Axes> = {
  code: "AXES_PERMUTED",
  of: "tensor",
  moves: true,
  recognise({ orders, elements, key }) {
    for (const { order, of, axes: sizes } of orders) {
      // Heads of an attention that move as a whole are blocks of rows.
      if (of === "rows" && sizes.length === 1 && isAttention(key)) continue;
      const axes = axesOf(order);
      if (axes !== null) return { of, ...axes };
    }
    const axes = orders.length > 0 || elements === null ? null : axesOf(elements);
    return axes && { of: "elements", ...axes };
  },
  words: ({ of, found, expected }) =>
    `has the axes of its ${of} in another order: [${found}] of what is [${expected}] on the other side`,
  mend: () => "permute the axes of this tensor on one side, and reshape only axes that stand next to each other",
};

function axesOf(order: Order): Omit<Axes, "of"> | null {
  const digits = digitsOf(order);
  if (digits === null || digits.length < 2 || digits.some(({ stride }) => stride < 0)) return null;
  // Two blocks that are exchanged are [2, 2] parts, turned: that says less.
  if (order.moved.length === 2 * blockOf(order)) return null;
  const sorted = digits.toSorted((a, b) => a.stride - b.stride);
  const listed = (of: readonly Digit[]) =>
    of
      .toReversed()
      .map(({ size }) => size)
      .join(", ");
  return { found: listed(digits), expected: listed(sorted) };
}
