// Every two neighbours in each other's place: MXFP4 has two values a byte, interleaved gate and up alternate.

import { groupWords } from "../evidence/moves.ts";
import { flipped } from "../evidence/order.ts";
import type { TensorFault } from "../fault.ts";

interface Pairs {
  readonly of: "rows" | "columns";
  readonly where: string;
}

/** Fewer are rows that were exchanged. */
const FEWEST = 4;

export const pairsSwapped: TensorFault<Pairs> = {
  code: "PAIRS_SWAPPED",
  of: "tensor",
  moves: true,
  recognise({ orders }) {
    for (const along of orders) {
      if (along.order.parts % 2 !== 0) continue;
      const groups = along.order.groupsOf(2, flipped(2));
      if (groups !== null && groups.length >= FEWEST) return { of: along.of, where: groupWords(groups, 2, along) };
    }
    return null;
  },
  words: ({ of, where }) => `has every two neighbouring ${of} exchanged${where}`,
  mend: () =>
    "read the lower four bits of an MXFP4 byte first on both sides; where gate and up are interleaved, gate first",
};
