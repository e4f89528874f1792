// Which weights of two sources differ, and what was done to them: all it needs is two sources of tensors by the same keys.
import { runAtOnce } from "../base/steps.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";
import type { HfView } from "../views/as-hf.ts";
import { compareTensors } from "../views/compare.ts";
import type { TensorSource } from "../views/tensor-source.ts";
import { modelsOf, type Names, pairOf, SIDES } from "./pair.ts";
import { type Recognised, recognise } from "./registry.ts";

export interface WeightFault extends Recognised {
  /** Key in both sources. */
  readonly key: string;
}

export interface WeightSides {
  /** The reference. It is the side that words begin from, not the one that is right. */
  readonly right: TensorSource;
  readonly other: TensorSource;
  /** In the order that faults are told in. */
  readonly keys: readonly string[];
  /** Those to look at, if any of them is among `keys`; else all are. */
  readonly suspects?: readonly string[];
  /** How words call the two. */
  readonly names?: Names;
}

export function weightFaults(sides: WeightSides): readonly WeightFault[] {
  const { right, other, keys, suspects = [] } = sides;
  const shared = keys.filter((key) => right.tensors.has(key) && other.tensors.has(key));
  const named = shared.filter((key) => suspects.includes(key));
  const candidates = named.length > 0 ? named : shared;
  return runAtOnce(
    namedFaults(
      sides,
      candidates.filter((key) => !isSame(right, other, key)),
    ),
  );
}

/** @param different keys of tensors that differ; each of them is a step */
export function* namedFaults(
  { right, other, names = SIDES }: WeightSides,
  different: readonly string[],
): Generator<number, WeightFault[], void> {
  const models = modelsOf(right, other, names);
  const faults: WeightFault[] = [];
  for (const key of different) {
    faults.push({ key, ...recognise(pairOf(models, key)) });
    yield 0;
  }
  return faults;
}

/** The weights of two models under Hugging Face's keys and dims. */
export const viewSides = (
  views: readonly HfView[],
  reference: 0 | 1,
  suspects: readonly string[] = [],
): WeightSides => ({
  right: views[reference]!.source,
  other: views[1 - reference]!.source,
  keys: inTableOrder(views[reference]!).map(({ key }) => key),
  suspects,
  names: reference === 1 ? { one: "a", other: "b" } : { one: "b", other: "a" },
});

/** The tensors of a view, whatever the order of its files; those of no rule of their own come last. */
function inTableOrder({ model, source: { tensors } }: HfView): TensorInfo[] {
  const places = new Map(model.table.tensors("hf").map(({ key }, i) => [key, i]));
  const placeOf = ({ key }: TensorInfo) => places.get(key) ?? places.size;
  return [...tensors.values()].toSorted((a, b) => placeOf(a) - placeOf(b));
}

function isSame(a: TensorSource, b: TensorSource, key: string): boolean {
  const found = runAtOnce(compareTensors(a, b, [a.tensors.get(key)!, b.tensors.get(key)!]));
  return found.every(({ kind }) => kind === "dtype");
}
