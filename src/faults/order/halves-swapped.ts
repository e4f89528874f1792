// The two halves of an axis in each other's place: gate and up of one tensor, two shards, the two inputs of a projection.
import { groupWords } from "../evidence/moves.ts";
import { divisorsOf, rolled } from "../evidence/order.ts";
import type { TensorFault } from "../fault.ts";

interface Halves {
  readonly of: "rows" | "columns";
  readonly size: number;
  readonly where: string;
}

export const halvesSwapped: TensorFault<Halves> = {
  code: "HALVES_SWAPPED",
  of: "tensor",
  moves: true,
  recognise({ orders }) {
    for (const along of orders) {
      const { order, axes, of } = along;
      const axis = axes.at(-1)!;
      for (const size of divisorsOf(order.parts)) {
        if (size % 2 !== 0 || size < 4 || size > axis) continue;
        const groups = order.groupsOf(size, rolled(size, size / 2));
        // Two neighbours among many are exchanged, and are no halves.
        if (groups === null || (size < axis && groups.length < order.parts / size)) continue;
        return { of, size, where: groupWords(groups, size, along) };
      }
    }
    return null;
  },
  words: ({ of, size, where }) => `has the two halves of its ${of} exchanged, ${size / 2} each${where}`,
  mend: () =>
    "write both halves in one order on both sides: gate and up, two shards, or the two inputs of a projection",
};
