// An axis from its end to its beginning: the taps of a convolution, channels as BGR.
import { type Digit, digitsOf } from "../evidence/order.ts";
import { isAttention } from "../evidence/roles.ts";
import type { TensorFault } from "../fault.ts";

interface Reversed {
  readonly of: "rows" | "columns";
  readonly sizes: string;
}

export const flipped: TensorFault<Reversed> = {
  code: "FLIPPED",
  of: "tensor",
  moves: true,
  recognise({ orders, key }) {
    for (const { order, of, axes } of orders) {
      // The first and the last of three heads are exchanged, and no axis is reversed.
      if (of === "rows" && axes.length === 1 && isAttention(key)) continue;
      const digits = digitsOf(order);
      if (digits === null || !isInOrder(digits)) continue;
      const back = digits.filter(({ stride }) => stride < 0);
      return {
        of,
        sizes: back.map(({ size, stride }) => `${size}${stride === -1 ? "" : ` (${-stride} apart)`}`).join(", "),
      };
    }
    return null;
  },
  words: ({ of, sizes }) => `has an axis of its ${of} from the end to the beginning: ${sizes}`,
  mend: () =>
    "take that axis in one direction on both sides: the taps of a convolution, RGB or BGR, the patches of an image",
};

const isInOrder = (digits: readonly Digit[]): boolean =>
  digits.every(({ stride }, i) => i === 0 || Math.abs(stride) > Math.abs(digits[i - 1]!.stride));
