import { type ParityOptions, type ParityReport, runParity } from "../../src/parity/parity.ts";

/**
 * A parity run on the reference that says whether the sides agree, and does not search for what would explain it: a graph's own
 * tests ask that often. The search has tests of its own, in test/parity/hypotheses.
 */
export const judged = (options: ParityOptions): Promise<ParityReport> =>
  runParity({ ...options, backend: "cpu", search: false });
