// Which weights of two sides differ, and what was done to them.
import { runAtOnce } from "../../base/steps.ts";
import { ownersOf, pairOf } from "../../faults/pair.ts";
import { type Recognised, recognise } from "../../faults/registry.ts";
import type { TensorInfo } from "../../formats/checkpoint.ts";
import type { HfView } from "../../views/as-hf.ts";
import { compareTensors } from "../../views/compare.ts";
import type { TensorSource } from "../../views/tensor-source.ts";

export interface WeightFault extends Recognised {
  /** Hugging Face key. */
  readonly key: string;
}

/**
 * Compares the weights of both sides under Hugging Face's keys and dims: those of the step that read `suspects`, if
 * given, else all. The reference is taken to be right.
 */
export function weightFaults(
  views: readonly HfView[],
  reference: 0 | 1,
  suspects: readonly string[],
): readonly WeightFault[] {
  const [right, other] = [views[reference]!.source, views[1 - reference]!.source];
  const shared = inTableOrder(views[reference]!).filter((info) => other.tensors.has(info.key));
  const named = shared.filter(({ key }) => suspects.includes(key));
  const candidates = named.length > 0 ? named : shared;
  const different = candidates.filter((info) => !isSame(right, other, info));
  if (different.length === 0) return [];
  const keys = candidates.map(({ key }) => key);
  const owners = ownersOf(right, keys);
  return different.map(({ key }) => ({ key, ...recognise(pairOf(right, other, key, owners)) }));
}

/** The tensors of a view, whatever the order of its files; those of no rule of their own come last. */
function inTableOrder({ model, source: { tensors } }: HfView): TensorInfo[] {
  const places = new Map(model.table.tensors("hf").map(({ key }, i) => [key, i]));
  const placeOf = ({ key }: TensorInfo) => places.get(key) ?? places.size;
  return [...tensors.values()].toSorted((a, b) => placeOf(a) - placeOf(b));
}

function isSame(a: TensorSource, b: TensorSource, info: TensorInfo): boolean {
  const found = runAtOnce(compareTensors(a, b, [info, b.tensors.get(info.key)!]));
  return found.every(({ kind }) => kind === "dtype");
}
