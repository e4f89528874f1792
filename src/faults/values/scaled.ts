// A scale that was not applied, or applied twice: FP8 codes without theirs are up to 448 times as large (unsloth#6200).
import type { TensorFault } from "../fault.ts";
import type { TensorPair } from "../pair.ts";
import { whereOf } from "../where.ts";

interface Scaled {
  readonly factor: string;
  readonly where: string;
}

/** Rounding, and a little for the factor, which is an estimate. */
const TOLERANCE = 1.1;
/** Of fewer elements any factor is one. */
const FEWEST = 4;

export const scaled: TensorFault<Scaled> = {
  code: "SCALED",
  of: "tensor",
  recognise(pair) {
    if (pair.count < FEWEST || !pair.isSeveral) return null;
    const factor = factorOf(pair);
    if (factor !== null) return { factor: `${factor.toPrecision(4)} times`, where: whereOf(pair).where };
    const scales = pair.scales;
    if (scales === null) return null;
    const { of, least, most } = scales;
    const range = `${least.toPrecision(3)} to ${most.toPrecision(3)} times, by a factor for each ${of},`;
    return { factor: range, where: whereOf(pair).where };
  },
  words: ({ factor, where }, { one, other }) => `is ${factor} as large in ${one} as in ${other}: ${where}`,
  mend: () => "apply the tensor's scale once, and all of it: of an FP8 or MXFP4 weight it is stored beside its codes",
};

/** One for all elements, or for all that differ. */
function factorOf(pair: TensorPair): number | null {
  const { precision, measured } = pair;
  const tolerance = (TOLERANCE * precision) / 2;
  // Below this, rounding is as large as the factor.
  const least = Math.max(precision / 4, 4 * 2 ** -23);
  const isFactor = (factor: number) => Number.isFinite(factor) && factor !== 0 && Math.abs(factor - 1) > least;
  const fits = (factor: number) => (x: number, y: number) => Math.abs(y - factor * x) <= tolerance * Math.abs(y);
  const { factor, factorOfAll } = measured;
  if (isFactor(factorOfAll) && pair.every(fits(factorOfAll))) return factorOfAll;
  return isFactor(factor) && pair.differs(fits(factor)) ? factor : null;
}
