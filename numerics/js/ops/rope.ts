import type { Ops, RopePairs, RopeTable } from "../../graph.ts";
import { ropeShape } from "../../ops/rope.ts";
import type { Values } from "../memory.ts";
import type { JsNode } from "../node.ts";
import type { Recording } from "../recording.ts";

/** (u, v) → (u cos − v sin, u sin + v cos) on the first 2·table.pairs channels of each head. x is [T, N, H]. */
function rope(
  x: Values,
  [T, N, H]: readonly [number, number, number],
  table: RopeTable,
  pairs: RopePairs,
  out: Values,
): void {
  out.set(x);
  const half = table.pairs;
  const [stride, partner] = pairs === "adjacent" ? [2, 1] : [1, half];
  for (let t = 0; t < T; t++) {
    for (let n = 0; n < N; n++) {
      const head = (t * N + n) * H;
      for (let i = 0; i < half; i++) {
        const [cos, sin] = [table.cos[t * half + i]!, table.sin[t * half + i]!];
        const [u, v] = [x[head + stride * i]!, x[head + stride * i + partner]!];
        out[head + stride * i] = u * cos - v * sin;
        out[head + stride * i + partner] = u * sin + v * cos;
      }
    }
  }
}

export const rotations = <V extends Values>(backend: Recording<V>): Pick<Ops<JsNode<V>>, "rope"> => ({
  rope: (x, table, pairs) =>
    backend.record(ropeShape(x, table), [x], (out) =>
      rope(backend.values(x), [x.shape[0]!, x.shape[1]!, x.shape[2]!], table, pairs, out),
    ),
});
