import type { Kernel } from "../kernel.ts";

/**
 * One row per workgroup: Y = W · (X − mean) / √(mean((X − mean)²) + eps) + B, in two passes, so that a large mean costs
 * no digits. Each of `lanes` invocations adds its share, then all add the shares in the same order.
 */
export const layerNorm = (lanes: number): Kernel<"rows" | "channels" | "eps"> => ({
  key: `layer-norm ${lanes} lanes`,
  reads: { X: "f32", W: "f32", B: "f32" },
  writes: "f32",
  params: { rows: "u32", channels: "u32", eps: "f32" },
  size: lanes,
  declarations: `var<workgroup> sums: array<f32, ${lanes}>;
var<workgroup> squares: array<f32, ${lanes}>;`,
  body: () => `
let row = group.y * groups.x + group.x;
if (row >= p.rows) { return; }
let begin = row * p.channels;
var share = 0.0f;
for (var c = lane; c < p.channels; c += ${lanes}u) { share += X[begin + c]; }
sums[lane] = share;
workgroupBarrier();
var sum = 0.0f;
for (var i = 0u; i < ${lanes}u; i++) { sum += sums[i]; }
let mean = sum / f32(p.channels);
share = 0.0f;
for (var c = lane; c < p.channels; c += ${lanes}u) { let x = X[begin + c] - mean; share += x * x; }
squares[lane] = share;
workgroupBarrier();
sum = 0.0f;
for (var i = 0u; i < ${lanes}u; i++) { sum += squares[i]; }
let scale = inverseSqrt(sum / f32(p.channels) + p.eps);
for (var c = lane; c < p.channels; c += ${lanes}u) { Y[begin + c] = W[c] * ((X[begin + c] - mean) * scale) + B[c]; }`,
});
