// Functions of one value, and of two.
import type { Ops } from "../../graph.ts";
import type { Shape } from "../../ops/call.ts";
import { broadcastShape } from "../../ops/pointwise.ts";
import { broadcastStrides } from "../../ops/strides.ts";
import type { Kernel } from "../kernel.ts";
import * as kernels from "../kernels/elementwise.ts";
import { addRepeated, mulRepeated } from "../kernels/strided.ts";
import type { GpuNode } from "../node.ts";
import type { Recording } from "../recording.ts";
import { elementwiseStep, stridedStep } from "../step.ts";

export function pointwise(recording: Recording): Pick<Ops<GpuNode>, "map" | "affine" | "clamp" | "mul" | "add"> {
  function elementwise<P extends string>(
    kernel: Kernel<P>,
    shape: Shape,
    operands: readonly GpuNode[],
    params: Omit<Record<P, number>, "count">,
  ): GpuNode {
    const inputs = operands.map((x) => recording.storage(x));
    return recording.make(shape, (output) => elementwiseStep(kernel, inputs, params, output));
  }
  function binary(kind: "mul" | "add", a: GpuNode, b: GpuNode): GpuNode {
    const shape = broadcastShape(kind, a, b);
    const [same, repeated] = kind === "mul" ? [kernels.mul, mulRepeated] : [kernels.add, addRepeated];
    if (a.elements === b.elements) return elementwise(same, shape, [a, b], {});
    const inputs = [recording.storage(a), recording.storage(b)];
    const strides = { shape, strides: broadcastStrides(shape, b.shape) };
    return recording.make(shape, (output) => stridedStep(repeated, inputs, strides, output));
  }
  return {
    map: (f, x) => elementwise(kernels.map(f), x.shape, [x], {}),
    affine: (x, factor, offset = 0) => elementwise(kernels.affine, x.shape, [x], { factor, offset }),
    clamp: (x, low, high) => elementwise(kernels.clamp, x.shape, [x], { low, high }),
    mul: (a, b) => binary("mul", a, b),
    add: (a, b) => binary("add", a, b),
  };
}
