import type { Ops } from "../../graph.ts";
import { given } from "../../ops/call.ts";
import { linearShape } from "../../ops/linear.ts";
import type { Values } from "../memory.ts";
import type { JsNode } from "../node.ts";
import type { Recording } from "../recording.ts";

export const linearMaps = <V extends Values>(backend: Recording<V>): Pick<Ops<JsNode<V>>, "linear"> => ({
  linear: (x, weight, bias, summation = "usual") => {
    const shape = linearShape(x, weight, bias);
    const [T, O, I] = [shape[0]!, shape[1]!, x.shape[1]!];
    return backend.record(shape, given(x, weight, bias), (out) => {
      const w = weight.storage?.data ?? weight.view ?? backend.values(weight);
      const operands = { x: backend.values(x), weight: w, bias: bias ? backend.values(bias) : null };
      return backend.arithmetic.linear({ ...operands, T, O, I, summation }, out, backend.memory);
    });
  },
});
