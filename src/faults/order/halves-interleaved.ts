// Two halves on one side, interleaved on the other: gate_up of gpt_oss takes every second row.
import { groupWords } from "../evidence/moves.ts";
import { divisorsOf, toHalves, toPairs } from "../evidence/order.ts";
import type { TensorFault } from "../fault.ts";

interface Interleaved {
  readonly of: "rows" | "columns";
  readonly size: number;
  readonly where: string;
}

export const halvesInterleaved: TensorFault<Interleaved> = {
  code: "HALVES_INTERLEAVED",
  of: "tensor",
  moves: true,
  recognise({ orders }) {
    for (const along of orders) {
      const { order, axes, of } = along;
      const axis = axes.at(-1)!;
      for (const size of divisorsOf(order.parts)) {
        if (size % 2 !== 0 || size < 4 || size > axis) continue;
        for (const way of [toHalves, toPairs]) {
          const groups = order.groupsOf(size, way(size));
          if (groups === null || (size < axis && groups.length < order.parts / size)) continue;
          return { of, size, where: groupWords(groups, size, along) };
        }
      }
    }
    return null;
  },
  words: ({ of, size, where }) =>
    `has its ${of} as two halves on one side, and interleaved on the other, ${size} together${where}`,
  mend: () => "split gate and up the same way on both sides: the first half and the second, or every second one",
};
