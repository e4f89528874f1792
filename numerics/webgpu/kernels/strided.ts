// Tensors seen through strides: axes in another order, or repeated.
import type { Kernel } from "../kernel.ts";
import { flatIndex, flatSize } from "./elementwise.ts";

/** Axes that an index is taken apart into; fewer are padded with axes of size 1 in front. */
export const stridedAxes = 6;

const axes = Array.from({ length: stridedAxes }, (_, a) => a);

export type StridedParam = "count" | `size${number}` | `stride${number}`;

const params: Readonly<Record<StridedParam, "u32">> = Object.fromEntries([
  ["count", "u32"],
  ...axes.map((a) => [`size${a}`, "u32"]),
  ...axes.map((a) => [`stride${a}`, "u32"]),
]);

/** `at` is the offset of element i: Σ indexₐ · strideₐ. */
const offset = `var rest = i;
var at = 0u;
${axes
  .toReversed()
  .map((a) => `at += rest % p.size${a} * p.stride${a}; rest /= p.size${a};`)
  .join("\n")}`;

const strided = (key: string, reads: readonly string[], value: string): Kernel<StridedParam> => ({
  key,
  reads: Object.fromEntries(reads.map((name) => [name, "f32"])),
  writes: "f32",
  params,
  size: flatSize,
  body: () => `${flatIndex("p.count")}\n${offset}\n${value}`,
});

export const permute = strided("permute", ["X"], "Y[i] = X[at];");
export const mulRepeated = strided("mul repeated", ["A", "B"], "Y[i] = A[i] * B[at];");
export const addRepeated = strided("add repeated", ["A", "B"], "Y[i] = A[i] + B[at];");

export function stridedParams(
  count: number,
  shape: readonly number[],
  strides: readonly number[],
): Record<StridedParam, number> {
  const lead = stridedAxes - shape.length;
  if (lead < 0) throw new Error(`a tensor of ${shape.length} axes: at most ${stridedAxes} are seen through strides`);
  return Object.fromEntries([
    ["count", count],
    ...axes.map((a) => [`size${a}`, a < lead ? 1 : shape[a - lead]!]),
    ...axes.map((a) => [`stride${a}`, a < lead ? 0 : strides[a - lead]!]),
  ]);
}
