// Sides of other types: what the cast between them costs, told once, and never as a fault of single tensors.
import type { Cause } from "../../../faults/cause.ts";
import { rounded } from "../../../faults/values/rounded.ts";
import { castWords, narrower } from "../../../views/rounding.ts";
import { isCastAlone } from "../evidence.ts";
import type { Rerun } from "../laboratory.ts";
import { type Case, limitFor, nats } from "./cause.ts";

/** @param inOneType a run with each tensor in the narrower of its types, on both sides */
export async function castCause({ evidence, laboratory }: Case, inOneType: Rerun): Promise<Cause | null> {
  const { cast, coverage, metrics } = evidence;
  if (cast === null || cast.asked || coverage.weights === null) return null;
  const { types } = cast;
  const ways = [types.filter(({ from, to }) => narrower(from, to) === to), types.filter(isWidening)] as const;
  const [toB, toA] = ways.map((way) => way.reduce((sum, { tensors }) => sum + tensors, 0));
  const [narrow, wide] = toB! >= toA! ? ["b", "a"] : ["a", "b"];
  const isMixed = toA! > 0 && toB! > 0;
  const { rounded: more, tensors } = coverage.weights;
  const relation = isMixed
    ? "each tensor is exactly the rounding of the other side's"
    : `${narrow} is exactly the rounding of ${wide}`;
  if (isCastAlone(evidence)) {
    const isReversed = narrow === "a" || isMixed;
    return {
      code: rounded.code,
      tensors: [],
      fields: [],
      explanation: `${relation}, bit for bit: ${castWords(types)}`,
      evidence: `${more} of ${tensors} tensors are equal once rounded, the others as they are; mean KL is ${nats(metrics)}, and ${nats(inOneType.metrics)} with both sides in one type`,
      fix: isReversed
        ? "if that cast was asked for, give them the other way round with --after-cast"
        : `if that cast was asked for, --after-cast asks for just that; to bound what it costs, --max-kl ${limitFor(metrics)}`,
    };
  }
  const alone = await laboratory.castOf(wide === "a" ? 0 : 1);
  return {
    code: rounded.code,
    tensors: [],
    fields: [],
    explanation: `the sides are stored in other types, too: ${castWords(types)}`,
    evidence: `that cast alone makes a mean KL of ${nats(alone.metrics)}; ${more} of ${tensors} tensors are equal once rounded; with both sides in one type mean KL is ${nats(inOneType.metrics)}`,
    fix: "keep the element types, or if that cast was asked for, mend the rest first and give --after-cast",
  };
}

const isWidening = ({ from, to }: { readonly from: Parameters<typeof narrower>[0]; readonly to: typeof from }) =>
  narrower(from, to) === from;
