import type { Pointwise } from "../../graph.ts";
import type { Kernel } from "../kernel.ts";
import { exponential } from "./exponential.ts";

/** Invocations per workgroup of kernels whose invocations make one element each. */
export const flatSize = 64;

/** `i` is the element of this invocation; workgroups fill a 2-D grid, as one dimension ends at 65535. */
export const flatIndex = (count: string): string =>
  `let i = (group.y * groups.x + group.x) * ${flatSize}u + lane;
if (i >= ${count}) { return; }`;

const flat = { writes: "f32", size: flatSize } as const;

function elementwise(op: string, reads: readonly string[], value: string): Kernel<"count"> {
  return {
    ...flat,
    key: op,
    reads: Object.fromEntries(reads.map((name) => [name, "f32"])),
    params: { count: "u32" },
    body: () => `${flatIndex("p.count")}\n${value}`,
  };
}

export const add = elementwise("add", ["A", "B"], "Y[i] = A[i] + B[i];");
export const mul = elementwise("mul", ["A", "B"], "Y[i] = A[i] * B[i];");

/** σ(x), with e⁻|ˣ| ≤ 1 so that nothing overflows. */
const sigmoid = "let e = exponential(-abs(x)); let s = select(e, 1.0f, x >= 0.0) / (1.0 + e);";

/**
 * erfc z for z ≥ 0 within 1.2e-7 of itself: t · exp(−z² + a polynomial of t), t = 2 / (2 + z); Numerical Recipes §6.2.2
 * (2nd edition). −z² is taken in two parts, or its rounding error would be multiplied by z².
 */
const erfc = `
fn erfc(z: f32) -> f32 {
  let t = 2.0f / (2.0f + z);
  var y = 0.17087277f;
  y = y * t - 0.82215223f;
  y = y * t + 1.48851587f;
  y = y * t - 1.13520398f;
  y = y * t + 0.27886807f;
  y = y * t - 0.18628806f;
  y = y * t + 0.09678418f;
  y = y * t + 0.37409196f;
  y = y * t + 1.00002368f;
  y = y * t - 1.26551223f;
  let high = bitcast<f32>(bitcast<u32>(z) & 0xfffff000u);
  return t * exponential(-high * high) * exp((high - z) * (high + z) + y);
}`;

/** `th` = tanh(x); the built-in overflows on some adapters, so it is made from e^(−2|x|). */
export const tanhOf = (x: string): string => `let u = abs(${x}); let d = exponential(-2.0 * u);
let small = u * u;
let h = select((1.0 - d) / (1.0 + d), u * (1.0 - small * (0.33333333 - small * (0.13333333 - small * 0.05396825))), u < 0.1);
let th = select(h, -h, (${x}) < 0.0);`;

/** Value of each function at x. */
const values: Readonly<Record<Pointwise, string>> = {
  silu: `${sigmoid} Y[i] = x * s;`,
  sigmoid: `${sigmoid} Y[i] = s;`,
  tanh: `${tanhOf("x")} Y[i] = th;`,
  exp: "Y[i] = select(1.0f / exponential(-x), exponential(x), x <= 0.0);",
  // max(x, 0) + log(1 + e⁻|ˣ|)
  softplus: `let e = exponential(-abs(x));
let l = select(log(1.0 + e), e * (1.0 - e * (0.5 - e * 0.33333333)), e < 0.01);
Y[i] = select(max(x, 0.0) + l, x, x > 20.0);`,
  gelu: `let c = 0.5 * erfc(abs(x) * 0.70710678); Y[i] = x * select(1.0 - c, c, x < 0.0);`,
  geluTanh: `let g = 0.7978845608 * (x + 0.044715 * x * x * x);
${tanhOf("g")} Y[i] = 0.5 * x * (1.0 + th);`,
};

export const map = (f: Pointwise): Kernel<"count"> => ({
  ...elementwise(f, ["X"], `let x = X[i];\n${values[f]}`),
  declarations: f === "gelu" ? `${exponential}\n${erfc}` : exponential,
});

export const affine: Kernel<"count" | "factor" | "offset"> = {
  ...flat,
  key: "affine",
  reads: { X: "f32" },
  params: { count: "u32", factor: "f32", offset: "f32" },
  body: () => `${flatIndex("p.count")}\nY[i] = p.factor * X[i] + p.offset;`,
};

/** On bits, as compilers may take for granted that nothing is NaN. */
export const clamp: Kernel<"count" | "low" | "high"> = {
  ...flat,
  key: "clamp",
  reads: { X: "f32" },
  params: { count: "u32", low: "f32", high: "f32" },
  body: () => `${flatIndex("p.count")}
let x = X[i];
let isNan = (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
Y[i] = select(min(max(x, p.low), p.high), x, isNan);`,
};
