// Axes in another order: patch embeddings [channel, time, height, width], position tables, what a merger joins.
import { type Digit, digitsOf, type Order } from "../evidence/order.ts";
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
  recognise({ orders, elements }) {
    for (const { order, of } of orders) {
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
  if (digits === null || digits.length < 2) return null;
  const sorted = digits.toSorted((a, b) => Math.abs(a.stride) - Math.abs(b.stride));
  // Axes are named by their place among those expected.
  const nameOf = (digit: Digit) => `${digit.size}${digit.stride < 0 ? " reversed" : ""}`;
  const listed = (of: readonly Digit[]) => of.toReversed().map(nameOf).join(", ");
  return { found: listed(digits), expected: listed(sorted) };
}
