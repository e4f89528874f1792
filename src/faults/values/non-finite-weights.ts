// Single elements that are NaN or infinite: a value beyond a type's largest, a division by a zero scale, a damaged file.
import { coordinates } from "../../views/compare.ts";
import type { TensorFault } from "../fault.ts";

interface Found {
  readonly at: string;
  readonly value: number;
  readonly against: number;
  readonly count: number;
  readonly of: number;
  /** Whether it is the tensor of the reference that has them. */
  readonly inOther: boolean;
}

export const nonFiniteWeights: TensorFault<Found> = {
  code: "NON_FINITE_WEIGHTS",
  of: "tensor",
  recognise(pair) {
    const { first, count } = pair.notFinite;
    if (first === null) return null;
    const inOther = Number.isFinite(first.found);
    const [value, against] = inOther ? [first.expected, first.found] : [first.found, first.expected];
    return { at: coordinates(first.at, pair.shape).join(", "), value, against, count, of: pair.count, inOther };
  },
  words: ({ at, value, against, count, of, inOther }, { one, other }) =>
    `has ${count} of ${of} elements that are NaN or infinite in ${inOther ? other : one} alone, the first at [${at}]: ${value} against ${against}`,
  mend: () => "make that tensor again from its source: a value was too large for its type, or its file is damaged",
};
