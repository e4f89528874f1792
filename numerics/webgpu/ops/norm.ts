// Norms over the last axis.
import type { Ops } from "../../graph.ts";
import { given, type Shape } from "../../ops/call.ts";
import { normShape } from "../../ops/norm.ts";
import { normLanes } from "../choice.ts";
import type { Kernel } from "../kernel.ts";
import { layerNorm } from "../kernels/layer-norm.ts";
import { rmsNorm } from "../kernels/rms-norm.ts";
import type { GpuNode, Storage } from "../node.ts";
import { alignUp, grid } from "../queue.ts";
import type { Recording } from "../recording.ts";
import { operands, type Source, type Step, whole } from "../step.ts";

type NormKernel = Kernel<"rows" | "channels" | "eps">;

/** Row by row; `weights` have as many elements as a row. */
function normStep(
  kernel: NormKernel,
  x: Storage,
  weights: readonly Source[],
  sizes: { readonly channels: number; readonly eps: number },
  output: Storage,
): Step {
  const { channels } = sizes;
  const rows = output.elements / channels;
  return {
    inputs: [x, ...weights],
    output,
    kernels: [kernel],
    uploadBytes: weights.length * alignUp(4 * channels),
    async run(runner) {
      const sent = await operands(
        runner,
        weights.map((source) => ({ source, elements: channels })),
      );
      runner.queue.dispatch(kernel, [whole(runner, x), ...sent, whole(runner, output)], { rows, ...sizes }, grid(rows));
    },
  };
}

export function norms(recording: Recording): Pick<Ops<GpuNode>, "rmsNorm" | "layerNorm"> {
  const lanes = normLanes(recording.traits);
  const norm = (shape: Shape, kernel: NormKernel, x: GpuNode, weights: readonly GpuNode[], eps: number) => {
    const input = recording.storage(x);
    const sources = weights.map((weight) => weight.data);
    const sizes = { channels: shape.at(-1)!, eps };
    return recording.make(shape, (output) => normStep(kernel, input, sources, sizes, output));
  };
  return {
    rmsNorm: (x, weight, eps) => {
      const weights = given(weight);
      return norm(normShape("rmsNorm", x, ...weights), rmsNorm(lanes, weight !== null), x, weights, eps);
    },
    layerNorm: (x, weight, bias, eps) =>
      norm(normShape("layerNorm", x, weight, bias), layerNorm(lanes), x, [weight, bias], eps),
  };
}
