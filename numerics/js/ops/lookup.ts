// Values known beforehand, and rows of a matrix by their index.
import type { Ops } from "../../graph.ts";
import { constantShape, gatherShape } from "../../ops/lookup.ts";
import { decode } from "../decode.ts";
import type { Values } from "../memory.ts";
import type { JsNode } from "../node.ts";
import type { Recording } from "../recording.ts";

/** Of a weight, only the rows asked for are read. */
function gatherRows(table: JsNode, ids: readonly number[], out: Values): void {
  const D = table.shape[1]!;
  for (const [t, id] of ids.entries()) {
    const row = out.subarray(t * D, (t + 1) * D);
    if (table.storage) row.set(table.storage.data.subarray(id * D, (id + 1) * D));
    else decode(table.view!.source, table.view!.begin + id * D, row);
  }
}

export const lookups = <V extends Values>(backend: Recording<V>): Pick<Ops<JsNode<V>>, "constant" | "gather"> => ({
  constant: (values, shape) => backend.record(constantShape(values, shape), [], (out) => out.set(values)),
  gather: (table, ids) => backend.record(gatherShape(table, ids), [table], (out) => gatherRows(table, ids, out)),
});
