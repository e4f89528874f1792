// Headers that a table expects on one side, and copies of them with something amiss.
import type { Dtype } from "../../src/base/dtype.ts";
import type { compileTable, SourceTensor } from "../../src/table/plan.ts";

export type Tensors = Map<string, SourceTensor>;

/** F32 tensors that the table knows on a side, of the given needs. */
export function tensorsOf(
  table: ReturnType<typeof compileTable>,
  side: "native" | "hf",
  needs: readonly string[] = ["required"],
): Tensors {
  const tensors = table.tensors(side).filter(({ need }) => needs.includes(need));
  return new Map(tensors.map(({ key, shape }) => [key, { dtype: "F32" as Dtype, shape: shape.map((size) => size!) }]));
}

export function edited(tensors: Tensors, edit: (tensors: Tensors) => void): Tensors {
  const copy = new Map(tensors);
  edit(copy);
  return copy;
}
