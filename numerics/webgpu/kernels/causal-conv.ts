import type { Kernel } from "../kernel.ts";
import { flatIndex, flatSize } from "./elementwise.ts";

/** Y[t, c] = Σⱼ W[c, j] · X[t − (width − 1) + j, c], zeros before the first token. */
export const causalConv: Kernel<"count" | "channels" | "width"> = {
  key: "causal-conv",
  reads: { X: "f32", W: "f32" },
  writes: "f32",
  params: { count: "u32", channels: "u32", width: "u32" },
  size: flatSize,
  body: () => `${flatIndex("p.count")}
let c = i % p.channels;
let t = i / p.channels;
var sum = 0.0f;
for (var j = 0u; j < p.width; j++) {
let back = p.width - 1u - j;
if (back <= t) { sum += W[c * p.width + j] * X[i - back * p.channels]; }
}
Y[i] = sum;`,
};
