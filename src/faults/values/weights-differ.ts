// Other values, in a way that no other fault explains: a tensor left random, a bit that flipped on a disk.
import { coordinates } from "../../views/compare.ts";
import type { TensorFault } from "../fault.ts";
import type { TensorPair } from "../pair.ts";
import { whereOf } from "../where.ts";

/** Null where they could not be compared one by one. */
type Found = { readonly where: string; readonly first: string; readonly related: string } | null;

interface WeightsDiffer extends TensorFault<{ readonly found: Found }> {
  /** @param pair null where its values cannot be compared one by one */
  recognise(pair: TensorPair | null): { readonly found: Found };
}

/** Of fewer values a correlation says nothing. */
const FEWEST = 16;

export const weightsDiffer: WeightsDiffer = {
  code: "WEIGHTS_DIFFER",
  of: "tensor",
  recognise(pair) {
    if (pair === null) return { found: null };
    const { first, different, correlation } = pair.measured;
    const at = first && `[${coordinates(first.at, pair.shape).join(", ")}]: ${first.found} against ${first.expected}`;
    const related = different < FEWEST ? "" : `; their correlation is ${correlation.toFixed(2)}`;
    return { found: { where: whereOf(pair).where, first: at ?? "none of those looked at", related } };
  },
  words: ({ found }) =>
    found === null
      ? "has other bytes"
      : `has other values: ${found.where}, the first at ${found.first}${found.related}`,
  mend: () => "convert the checkpoint again with this tool, or find what else wrote this tensor",
};
