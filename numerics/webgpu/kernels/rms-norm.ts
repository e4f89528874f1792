import type { Kernel } from "../kernel.ts";

const size = 64;

/**
 * A row a workgroup: Y = W · X / √(mean(X²) + eps). Each invocation sums a 64th of the row, then all add the partial
 * sums in the same order, which needs one barrier and keeps the rounding error near that of a tree.
 */
export const rmsNorm: Kernel<"rows" | "channels" | "eps"> = {
  key: "rms-norm",
  reads: { X: "f32", W: "f32" },
  writes: "f32",
  params: { rows: "u32", channels: "u32", eps: "f32" },
  size,
  declarations: `var<workgroup> sums: array<f32, ${size}>;`,
  body: () => `
let row = group.y * groups.x + group.x;
if (row >= p.rows) { return; }
let begin = row * p.channels;
var squares = 0.0f;
for (var c = lane; c < p.channels; c += ${size}u) { let x = X[begin + c]; squares += x * x; }
sums[lane] = squares;
workgroupBarrier();
var sum = 0.0f;
for (var i = 0u; i < ${size}u; i++) { sum += sums[i]; }
let scale = inverseSqrt(sum / f32(p.channels) + p.eps);
for (var c = lane; c < p.channels; c += ${size}u) { Y[begin + c] = W[c] * (X[begin + c] * scale); }`,
};
