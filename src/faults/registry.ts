// The catalogue: every fault that this tool can make and recognise, the most specific one first.
import type { Fault, TensorFault } from "./fault.ts";
import { configDiffers } from "./model/config-differs.ts";
import { nonFinite } from "./model/non-finite.ts";
import { staleTiedHead } from "./model/stale-tied-head.ts";
import { unusedTensors } from "./model/unused-tensors.ts";
import { ropePermuted } from "./order/rope-permuted.ts";
import { rowsReordered } from "./order/rows-reordered.ts";
import { tensorsSwapped } from "./order/tensors-swapped.ts";
import { transposed } from "./order/transposed.ts";
import type { TensorPair } from "./pair.ts";
import { offset } from "./values/offset.ts";
import { rounded } from "./values/rounded.ts";
import { scaled } from "./values/scaled.ts";
import { weightsDiffer } from "./values/weights-differ.ts";

/**
 * Faults of the model as a whole. `src/parity/verdict/hypotheses.ts` asks each, with what the run and further runs
 * showed.
 */
const OF_THE_MODEL = [staleTiedHead, configDiffers, unusedTensors, nonFinite];

/** Faults of one tensor. The last one explains what no other does. */
const OF_A_TENSOR: readonly TensorFault[] = [
  tensorsSwapped,
  ropePermuted,
  rowsReordered,
  transposed,
  rounded,
  scaled,
  offset,
  weightsDiffer,
];

export const FAULTS: readonly Fault[] = [...OF_THE_MODEL, ...OF_A_TENSOR];

/** What was done to a tensor. */
export interface Recognised {
  readonly code: string;
  /** Continues a sentence that begins with the tensor's key. */
  readonly words: string;
  readonly mend: string;
}

/** @param pair a tensor that differs; null where its values cannot be compared one by one */
export function recognise(pair: TensorPair | null): Recognised {
  for (const fault of pair === null ? [] : OF_A_TENSOR) {
    const found = fault.recognise(pair!);
    if (found !== null) return { code: fault.code, words: fault.words(found), mend: fault.mend(found) };
  }
  const found = weightsDiffer.recognise(pair);
  return { code: weightsDiffer.code, words: weightsDiffer.words(found), mend: weightsDiffer.mend(found) };
}
