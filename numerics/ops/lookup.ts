// Values known beforehand, and rows of a matrix by their index.
import { elementCount } from "../../src/base/dtype.ts";
import { InputError } from "../../src/base/errors.ts";
import type { Ops } from "../graph.ts";
import { type Interpret, type Operand, perValue, rank, type Shape } from "./call.ts";

export function constantShape(values: ArrayLike<number>, shape: Shape): Shape {
  if (values.length === elementCount(shape)) return [...shape];
  throw new Error(`a constant of ${values.length} values as [${shape.join(", ")}]`);
}

/** [V, D] and T ids → [T, D]. @throws InputError ID_OUT_OF_RANGE naming the first id that has no row. */
export function gatherShape(table: Operand, ids: readonly number[]): Shape {
  const [rows, dim] = rank("gather", table, 2);
  const position = ids.findIndex((id) => !(Number.isInteger(id) && id >= 0 && id < rows!));
  if (position >= 0) throw idOutOfRange(ids[position]!, position, rows!, table.key);
  return [ids.length, dim!];
}

function idOutOfRange(id: number, position: number, rows: number, key?: string): InputError {
  return new InputError("ID_OUT_OF_RANGE", `token id ${id} at position ${position} has no row in the embedding`, {
    ...(key === undefined ? {} : { tensor: key }),
    expected: `0 … ${rows - 1}`,
    found: String(id),
    help: "use ids of this model's own tokenizer, or check that no rows of the embedding were cut off",
  });
}

export const lookups = <X extends Operand>(made: Interpret<X>): Pick<Ops<X>, "constant" | "gather"> => ({
  constant: (values, shape) =>
    made({
      name: "constant",
      inputs: [],
      params: [values, shape],
      shape: () => constantShape(values, shape),
      flops: perValue(0),
      byRow: false,
      again: (op) => op.constant(values, shape),
    }),
  gather: (table, ids) =>
    made({
      name: "gather",
      inputs: [table],
      params: [ids],
      shape: () => gatherShape(table, ids),
      flops: perValue(0),
      byRow: true,
      again: (op, [whole], rows) => op.gather(whole!, rows ? ids.slice(rows.begin, rows.end) : ids),
    }),
});
