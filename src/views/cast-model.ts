// A model as a cast makes it: each tensor in the type that another model has it in.
import type { Dtype } from "../base/dtype.ts";
import { asHf, type HfView } from "./as-hf.ts";
import { castSource } from "./rounding.ts";
import type { ViewedModel } from "./tables.ts";

/**
 * The model in the types of `other`, tensor by tensor of Hugging Face's. A tensor of its own that becomes several of which
 * `other` has several types stays as it is.
 */
export function castModel<M extends ViewedModel>(model: M, other: HfView): M {
  const view = asHf(model, { mixedDtypes: true });
  const theirs = other.source.tensors;
  const wanted = new Map<string, Set<Dtype>>();
  for (const [key, sources] of view.origins) {
    const type = theirs.get(key)?.dtype;
    if (type === undefined) continue;
    for (const own of sources) wanted.set(own, (wanted.get(own) ?? new Set()).add(type));
  }
  for (const { alias, of } of view.plan.equalities) wanted.set(alias, wanted.get(of) ?? new Set());
  const typeOf = (key: string): Dtype | undefined => {
    const [type, ...others] = wanted.get(key) ?? [];
    return others.length === 0 ? type : undefined;
  };
  return { ...model, source: castSource(model.source, typeOf) };
}
