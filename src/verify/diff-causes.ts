// What was done to the tensors that differ: told from the tensors alone, so for every layout, with graphs or without.
import type { Cause } from "../faults/cause.ts";
import { statements } from "../faults/statements.ts";
import { namedFaults } from "../faults/weights.ts";
import type { Difference } from "../views/difference.ts";
import type { TensorSource } from "../views/tensor-source.ts";

/** Of a pair of other models all tensors differ, and the first ones say so. */
const MOST_TENSORS = 1000;

/** Nothing is read where nothing differs. */
export function* causesOf(
  a: TensorSource,
  b: TensorSource,
  differences: readonly Difference[],
): Generator<number, Cause[], void> {
  const keys = new Set(differences.flatMap(({ key, kind }) => (kind === "values" && isCommon(key, a, b) ? [key] : [])));
  const looked = [...keys].slice(0, MOST_TENSORS);
  const sides = { right: a, other: b, keys: looked, names: { one: "b", other: "a" } };
  const total = [...a.tensors.keys()].filter((key) => b.tensors.has(key)).length;
  const more = keys.size > looked.length ? `; ${keys.size - looked.length} more that differ were not looked at` : "";
  return statements(yield* namedFaults(sides, looked), total).map(({ evidence, ...statement }) => ({
    ...statement,
    fields: [],
    evidence: evidence + more,
  }));
}

const isCommon = (key: string, a: TensorSource, b: TensorSource): boolean => a.tensors.has(key) && b.tensors.has(key);
