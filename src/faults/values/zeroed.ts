// Zeros where the other side has values: a tensor that was never loaded, a shard that was not gathered, an expert left out.
import type { TensorFault } from "../fault.ts";
import { type Where, whereOf } from "../where.ts";

interface Found extends Where {
  readonly inOther: boolean;
}

export const zeroed: TensorFault<Found> = {
  code: "ZEROED",
  of: "tensor",
  recognise(pair) {
    const inOne = pair.differs((_, found) => found === 0);
    const inOther = !inOne && pair.differs((expected) => expected === 0);
    if (!inOne && !inOther) return null;
    const where = whereOf(pair);
    // One zero among many values is a changed value.
    return where.different < 2 && pair.count > 1 ? null : { ...where, inOther };
  },
  words: ({ inOther, where }, { one, other }) =>
    `is 0 in ${inOther ? other : one}, and has values in ${inOther ? one : other}: ${where}`,
  mend: () => "give the tensor its values: it was not loaded, not gathered from all ranks, or left out of a stack",
};
