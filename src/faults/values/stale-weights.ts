// Nearly the same everywhere: weights of an earlier step beside those of a later one, noise, a coarser format and back.
import type { TensorFault } from "../fault.ts";
import { whereOf } from "../where.ts";

interface Near {
  readonly relative: number;
  readonly correlation: number;
  readonly where: string;
}

/** Two tensors that have nothing to do with each other correlate by about 1/√n. */
const LEAST_CORRELATION = 0.8;
const LARGEST = 0.7;
/** Fewer elements are values that were changed one by one. */
const FEWEST = 8;

export const staleWeights: TensorFault<Near> = {
  code: "STALE_WEIGHTS",
  of: "tensor",
  recognise(pair) {
    const { relative, correlation, different } = pair.measured;
    const isNear = correlation >= LEAST_CORRELATION && relative <= LARGEST && different >= FEWEST;
    return isNear ? { relative, correlation, where: whereOf(pair).where } : null;
  },
  words: ({ relative, correlation, where }) =>
    `has nearly the same values: they differ by ${relative.toExponential(1)} of their size (correlation ${correlation.toFixed(4)}), as those of another training step, noise, or a coarser format make; ${where}`,
  mend: () =>
    "take both sides from the same step, and this tensor from the same file; compare step numbers and averages (EMA)",
};
