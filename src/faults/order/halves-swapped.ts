// The two halves of an axis in each other's place: gate and up of one tensor, two shards, the two inputs of a projection.
import { type Halves, halvesBy } from "../evidence/halves.ts";
import { rolled } from "../evidence/order.ts";
import type { TensorFault } from "../fault.ts";

export const halvesSwapped: TensorFault<Halves> = {
  code: "HALVES_SWAPPED",
  of: "tensor",
  moves: true,
  recognise: ({ orders }) => halvesBy(orders, (size) => [rolled(size, size / 2)]),
  words: ({ of, size, where }) => `has the two halves of its ${of} exchanged, ${size / 2} each${where}`,
  mend: () =>
    "write both halves in one order on both sides: gate and up, two shards, or the two inputs of a projection",
};
