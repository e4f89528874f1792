// The decay of a recurrence is stored as its logarithm, A_log, and used as -exp(A_log): one taken for the other.
import type { TensorFault } from "../fault.ts";

interface Taken {
  readonly how: string;
  /** Whether `one` is that of `other`. */
  readonly ofOther: boolean;
}

const WAYS = [
  ["the exponential", Math.exp],
  ["the negative exponential", (x: number) => -Math.exp(x)],
] as const;

export const logExp: TensorFault<Taken> = {
  code: "LOG_EXP",
  of: "tensor",
  recognise(pair) {
    if (!pair.isSeveral) return null;
    const near = (x: number, y: number) =>
      Math.abs(x - y) <= 2 * pair.precision * Math.max(1, Math.abs(x), Math.abs(y));
    for (const [how, take] of WAYS) {
      if (pair.differs((expected, found) => near(take(expected), found))) return { how, ofOther: true };
      if (pair.differs((expected, found) => near(take(found), expected))) return { how, ofOther: false };
    }
    return null;
  },
  words: ({ how, ofOther }, { one, other }) =>
    `is in ${ofOther ? one : other} ${how} of what it is in ${ofOther ? other : one}`,
  mend: () => "store the logarithm (A_log) on both sides, and take the exponential when it is used",
};
