import type { Kernel } from "../kernel.ts";
import { exponential } from "./exponential.ts";

/** Invocations a workgroup of kernels that make one element an invocation. */
export const flatSize = 64;

/** `i` is the element of this invocation; workgroups fill a 2-D grid, as one dimension ends at 65535. */
export const flatIndex = (count: string): string =>
  `let i = (group.y * groups.x + group.x) * ${flatSize}u + lane;
if (i >= ${count}) { return; }`;

function elementwise(op: string, reads: readonly string[], value: string): Kernel<"count"> {
  return {
    key: op,
    reads: Object.fromEntries(reads.map((name) => [name, "f32"])),
    writes: "f32",
    params: { count: "u32" },
    size: flatSize,
    body: () => `${flatIndex("p.count")}\n${value}`,
  };
}

export const add = elementwise("add", ["A", "B"], "Y[i] = A[i] + B[i];");
export const mul = elementwise("mul", ["A", "B"], "Y[i] = A[i] * B[i];");

/** x · σ(x), with e⁻|ˣ| ≤ 1 so that nothing overflows. */
export const silu: Kernel<"count"> = {
  ...elementwise(
    "silu",
    ["X"],
    `let x = X[i];
let e = exponential(-abs(x));
Y[i] = select(x * e, x, x >= 0.0) / (1.0 + e);`,
  ),
  declarations: exponential,
};
