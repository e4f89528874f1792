// A norm's weight that is stored less 1 on one side: 1 was added twice, or not at all (mlx-lm#1623).
import type { TensorFault } from "../fault.ts";
import { whereOf } from "../where.ts";

export const offset: TensorFault<{ readonly by: number; readonly where: string }> = {
  code: "OFFSET",
  of: "tensor",
  recognise(pair) {
    const { meanDifference } = pair.measured;
    const by = Math.round(meanDifference);
    if (!pair.isSeveral || !Number.isFinite(by) || by === 0 || Math.abs(meanDifference - by) > 0.1) return null;
    const tolerance = pair.precision;
    const isOff = pair.differs(
      (value, x) => Math.abs(x - value - by) <= tolerance * (1 + Math.abs(value) + Math.abs(x)),
    );
    return isOff ? { by, where: whereOf(pair).where } : null;
  },
  words: ({ by, where }, { one, other }) =>
    `is ${Math.abs(by)} ${by > 0 ? "more" : "less"} in ${one} than in ${other}: ${where}`,
  mend: () => "norms of some families store their weight less 1: add or take it once, on the side whose model does not",
};
