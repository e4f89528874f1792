// Norms over the last axis, in f64 arithmetic whatever the arrays hold.
import type { Ops } from "../../graph.ts";
import { given } from "../../ops/call.ts";
import { normShape } from "../../ops/norm.ts";
import type { Values } from "../memory.ts";
import type { JsNode } from "../node.ts";
import type { Recording } from "../recording.ts";

/** out = x · weight / √(mean(x²) + eps), row by row; weights are 1 where there are none. */
function rmsNorm(x: Values, weight: Values | null, eps: number, channels: number, out: Values): void {
  const D = channels;
  for (let row = 0; row < x.length; row += D) {
    let squares = 0;
    for (let d = 0; d < D; d++) squares += x[row + d]! ** 2;
    const scale = 1 / Math.sqrt(squares / D + eps);
    for (let d = 0; d < D; d++) out[row + d] = x[row + d]! * scale * (weight ? weight[d]! : 1);
  }
}

/** out = weight · (x − mean) / √(mean((x − mean)²) + eps) + bias, row by row. */
function layerNorm(x: Values, weight: Values, bias: Values, eps: number, out: Values): void {
  const D = weight.length;
  for (let row = 0; row < x.length; row += D) {
    let sum = 0;
    for (let d = 0; d < D; d++) sum += x[row + d]!;
    const mean = sum / D;
    let squares = 0;
    for (let d = 0; d < D; d++) squares += (x[row + d]! - mean) ** 2;
    const scale = 1 / Math.sqrt(squares / D + eps);
    for (let d = 0; d < D; d++) out[row + d] = (x[row + d]! - mean) * scale * weight[d]! + bias[d]!;
  }
}

export function norms<V extends Values>(backend: Recording<V>): Pick<Ops<JsNode<V>>, "rmsNorm" | "layerNorm"> {
  const values = (x: JsNode<V>) => backend.values(x);
  return {
    rmsNorm: (x, weight, eps) =>
      backend.record(normShape("rmsNorm", x, ...given(weight)), given(x, weight), (out) =>
        rmsNorm(values(x), weight && values(weight), eps, x.shape.at(-1)!, out),
      ),
    layerNorm: (x, weight, bias, eps) =>
      backend.record(normShape("layerNorm", x, weight, bias), [x, weight, bias], (out) =>
        layerNorm(values(x), values(weight), values(bias), eps, out),
      ),
  };
}
