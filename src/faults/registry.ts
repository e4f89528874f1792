// The catalogue: every fault that this tool can make and recognise, the most specific one first.
import type { Fault, TensorFault } from "./fault.ts";
import { configDiffers } from "./model/config-differs.ts";
import { nonFinite } from "./model/non-finite.ts";
import { staleTiedHead } from "./model/stale-tied-head.ts";
import { unusedTensors } from "./model/unused-tensors.ts";
import { axesPermuted } from "./order/axes-permuted.ts";
import { columnsReordered } from "./order/columns-reordered.ts";
import { flipped } from "./order/flipped.ts";
import { fusedSplit } from "./order/fused-split.ts";
import { halvesInterleaved } from "./order/halves-interleaved.ts";
import { halvesSwapped } from "./order/halves-swapped.ts";
import { pairsSwapped } from "./order/pairs-swapped.ts";
import { ropePermuted } from "./order/rope-permuted.ts";
import { rowsReordered } from "./order/rows-reordered.ts";
import { rowsRepeated } from "./order/rows-repeated.ts";
import { tensorRepeated } from "./order/tensor-repeated.ts";
import { tensorsSwapped } from "./order/tensors-swapped.ts";
import { transposed } from "./order/transposed.ts";
import { type Names, SIDES, type TensorPair } from "./pair.ts";
import { lastPlace } from "./values/last-place.ts";
import { logExp } from "./values/log-exp.ts";
import { nonFiniteWeights } from "./values/non-finite-weights.ts";
import { offset } from "./values/offset.ts";
import { rounded } from "./values/rounded.ts";
import { scaled } from "./values/scaled.ts";
import { signFlipped } from "./values/sign-flipped.ts";
import { staleWeights } from "./values/stale-weights.ts";
import { truncated } from "./values/truncated.ts";
import { weightsDiffer } from "./values/weights-differ.ts";
import { zeroed } from "./values/zeroed.ts";

/**
 * Faults of the model as a whole. `src/parity/verdict/causes/` asks each, with what the run and further runs
 * showed.
 */
const OF_THE_MODEL = [staleTiedHead, configDiffers, unusedTensors, nonFinite];

/** Faults of one tensor. The last one explains what no other does. */
const OF_A_TENSOR: readonly TensorFault[] = [
  nonFiniteWeights,
  zeroed,
  tensorsSwapped,
  tensorRepeated,
  ropePermuted,
  fusedSplit,
  halvesSwapped,
  halvesInterleaved,
  pairsSwapped,
  flipped,
  transposed,
  axesPermuted,
  rowsRepeated,
  rowsReordered,
  columnsReordered,
  rounded,
  truncated,
  lastPlace,
  signFlipped,
  offset,
  scaled,
  logExp,
  staleWeights,
  weightsDiffer,
];

const MOVERS = OF_A_TENSOR.filter(({ moves }) => moves);

export const FAULTS: readonly Fault[] = [...OF_THE_MODEL, ...OF_A_TENSOR];

/** What was done to a tensor. */
export interface Recognised {
  readonly code: string;
  /** Continues a sentence that begins with the tensor's key. */
  readonly words: string;
  readonly mend: string;
  /** The tensor of the reference model that has its values; null where it is not that which differs. */
  readonly owner: string | null;
}

/** @param pair a tensor that differs; null where its values cannot be compared one by one */
export function recognise(pair: TensorPair | null): Recognised {
  if (pair === null) return told(weightsDiffer, weightsDiffer.recognise(null), SIDES);
  const isRounded = [...pair.narrowings()].some((each) => each.isEqual);
  return (
    (isRounded ? null : (moved(pair) ?? firstOf(MOVERS, pair.reversed))) ??
    firstOf(
      OF_A_TENSOR.filter(({ moves }) => moves === undefined),
      pair,
    )!
  );
}

/** What moved, and its values as they are, or as a cast left them. */
function moved(pair: TensorPair): Recognised | null {
  const ahead = OF_A_TENSOR.slice(0, OF_A_TENSOR.indexOf(tensorsSwapped));
  const found = firstOf(ahead, pair) ?? firstOf(MOVERS, pair);
  if (found !== null) return found;
  for (const each of pair.narrowings()) {
    const after = firstOf(MOVERS, each);
    if (after !== null) return { ...after, words: `${after.words}; and its values are ${castWords(each)}` };
  }
  return null;
}

function castWords({ cast, names }: TensorPair): string {
  const { how, type, side } = cast!;
  return `${how} to ${type} in ${side === "one" ? names.one : names.other}`;
}

function firstOf(faults: readonly TensorFault[], pair: TensorPair): Recognised | null {
  for (const fault of faults) {
    const found = fault.recognise(pair);
    if (found !== null) return told(fault, found, pair.names, fault.moves ? pair.owner : undefined);
  }
  return null;
}

const told = (fault: TensorFault, found: unknown, names: Names, owner?: string): Recognised => ({
  code: fault.code,
  words: fault.words(found, names),
  mend: fault.mend(found),
  owner: owner ?? null,
});
