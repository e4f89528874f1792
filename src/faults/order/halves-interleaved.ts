// Two halves on one side, interleaved on the other: gate_up of gpt_oss takes every second row.
import { type Halves, halvesBy } from "../evidence/halves.ts";
import { toHalves, toPairs } from "../evidence/order.ts";
import type { TensorFault } from "../fault.ts";

export const halvesInterleaved: TensorFault<Halves> = {
  code: "HALVES_INTERLEAVED",
  of: "tensor",
  moves: true,
  recognise: ({ orders }) => halvesBy(orders, (size) => [toHalves(size), toPairs(size)]),
  words: ({ of, size, where }) =>
    `has its ${of} as two halves on one side, and interleaved on the other, ${size} together${where}`,
  mend: () => "split gate and up the same way on both sides: the first half and the second, or every second one",
};
