// A norm's weight that is stored less 1 on one side: 1 was added twice, or not at all (mlx-lm#1623).
import type { TensorFault } from "../fault.ts";
import { HALF_ULP } from "../pair.ts";

export const offset: TensorFault<{ readonly offset: number }> = {
  code: "OFFSET",
  of: "tensor",
  recognise(pair) {
    const by = Math.round(pair.found[0]! - pair.expected[0]!);
    const isOff = pair.every((value, x) => Math.abs(x - value - by) <= HALF_ULP * (1 + Math.abs(value)));
    return by !== 0 && isOff ? { offset: by } : null;
  },
  words: ({ offset: by }) => `is ${Math.abs(by)} ${by > 0 ? "more" : "less"} everywhere`,
  mend: () => "norms of this family store their weight less 1 on one side: add or take it once",
};
