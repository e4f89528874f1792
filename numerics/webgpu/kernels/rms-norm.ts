import type { Kernel } from "../kernel.ts";

/** Squares that are added up before their sum is added to the rest, so that rounding errors stay few. */
const block = 32;

/**
 * One row per workgroup: Y = W · X / √(mean(X²) + eps). Each of `lanes` invocations adds its share, then all add the
 * shares in the same order, which needs one barrier only.
 */
export const rmsNorm = (lanes: number, hasWeight: boolean): Kernel<"rows" | "channels" | "eps"> => ({
  key: `rms-norm ${lanes} lanes${hasWeight ? "" : " no weight"}`,
  reads: { X: "f32", ...(hasWeight ? { W: "f32" } : {}) },
  writes: "f32",
  params: { rows: "u32", channels: "u32", eps: "f32" },
  size: lanes,
  declarations: `var<workgroup> shares: array<f32, ${lanes}>;`,
  body: () => `
let row = group.y * groups.x + group.x;
if (row >= p.rows) { return; }
let begin = row * p.channels;
var share = 0.0f;
for (var c0 = lane; c0 < p.channels; c0 += ${lanes * block}u) {
var squares = 0.0f;
for (var c = c0; c < min(c0 + ${lanes * block}u, p.channels); c += ${lanes}u) { let x = X[begin + c]; squares += x * x; }
share += squares;
}
shares[lane] = share;
workgroupBarrier();
var sum = 0.0f;
for (var i = 0u; i < ${lanes}u; i++) { sum += shares[i]; }
let scale = inverseSqrt(sum / f32(p.channels) + p.eps);
for (var c = lane; c < p.channels; c += ${lanes}u) { Y[begin + c] = ${hasWeight ? "W[c] * " : ""}(X[begin + c] * scale); }`,
});
