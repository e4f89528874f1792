// What Hugging Face's forward pass reads of a side, whatever its layout: it tells what an input exercises by the keys in which
// weights are compared.
import type { ForwardInput } from "../../../numerics/graph.ts";
import { type ForwardPlan, planForward } from "../../../numerics/shapes/plan.ts";
import { InputError } from "../../base/errors.ts";
import type { HfView } from "../../views/as-hf.ts";

/** Of each input; null where there is no pass for these tensors. */
export function hfPlans(
  { model: { family }, source: { tensors } }: HfView,
  inputs: readonly ForwardInput[],
): readonly ForwardPlan[] | null {
  try {
    const forward = family.hf.forward();
    const has = (key: string) => tensors.has(key);
    return inputs.map((input) => planForward(forward, (key) => tensors.get(key) ?? missing(key), { ...input, has }));
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}

function missing(key: string): never {
  throw new InputError("MISSING_TENSOR", `no tensor "${key}"`, { tensor: key, help: "the pass is for other tensors" });
}
