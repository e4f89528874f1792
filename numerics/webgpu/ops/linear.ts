// x · Wᵀ + b with W read in windows of rows, each a range of columns of the result.
import type { Ops } from "../../graph.ts";
import { linearShape } from "../../ops/linear.ts";
import { gemmFor, type KernelTraits, type LinearSizes, matrixFor } from "../choice.ts";
import { pad } from "../kernels/copy.ts";
import { flatSize } from "../kernels/elementwise.ts";
import { type GemmKernel, kAlignment } from "../kernels/gemm.ts";
import { matrixStep } from "../matrix-linear.ts";
import { type GpuNode, Storage } from "../node.ts";
import { alignUp, grid, maxGroups } from "../queue.ts";
import type { Recording } from "../recording.ts";
import { part, type Runner, type Source, type Step, whole } from "../step.ts";
import { packingOf } from "../weights.ts";
import { alignedRows, bindWindow, bytesOf, type Extent, ranges, type Window } from "../windows.ts";

interface LinearOperands {
  readonly x: Storage;
  readonly weight: Source;
  readonly bias: Source | undefined;
}

function linearStep(traits: KernelTraits, operands: LinearOperands, sizes: LinearSizes, output: Storage): Step {
  const { x, weight, bias } = operands;
  const { rows, inputs, outputs } = sizes;
  const packing = weight instanceof Storage ? "f32" : packingOf(weight.source);
  if (!(weight instanceof Storage)) {
    const matrix = matrixFor(traits, sizes, packing, bias !== undefined);
    if (matrix !== undefined) return matrixStep(matrix, { x, weight, bias }, sizes, output);
  }
  const kernel = gemmFor(traits, sizes, packing, bias !== undefined);
  const depth = alignUp(inputs, kAlignment);
  const rowBytes = depth * bytesOf(packing);
  return {
    inputs: [x, weight, ...(bias === undefined ? [] : [bias])],
    output,
    kernels: depth === inputs ? [kernel] : [kernel, pad],
    uploadBytes: weight instanceof Storage ? 0 : outputs * (rowBytes + 4),
    async run(runner) {
      const xPadded = widened(runner, x, rows, inputs, depth);
      const wPadded = weight instanceof Storage ? widened(runner, weight, outputs, inputs, depth) : weight;
      const multiple = weight instanceof Storage ? alignedRows(rowBytes) : 1;
      const most = Math.min(Math.floor(runner.windowBytes / rowBytes), maxGroups * kernel.tile[1]);
      for (const [begin, end] of ranges(outputs, Math.max(multiple, most), multiple)) {
        const extent = { ...sizes, depth, packing, begin, end };
        const window = await bindWindow(runner, wPadded, bias, extent);
        multiply(runner, kernel, xPadded, window, extent, output);
      }
      for (const scratch of [xPadded, wPadded]) {
        if (scratch !== x && scratch !== weight && scratch instanceof Storage) runner.memory.give(scratch.buffer!);
      }
    },
  };
}

/** The same rows with zeros behind, in scratch memory; `x` itself where rows have that size. */
function widened(runner: Runner, x: Storage, rows: number, width: number, padded: number): Storage {
  if (width === padded) return x;
  const scratch = new Storage(rows * padded);
  scratch.buffer = runner.memory.take(scratch.bytes);
  const count = scratch.elements;
  runner.queue.dispatch(
    pad,
    [whole(runner, x), whole(runner, scratch)],
    { count, width, padded },
    grid(Math.ceil(count / flatSize)),
  );
  return scratch;
}

/** Columns [begin, end) of the result, in ranges of rows that a kernel can see. */
function multiply(
  runner: Runner,
  kernel: GemmKernel,
  x: Storage,
  window: Window,
  extent: Extent,
  output: Storage,
): void {
  const { rows, outputs, depth, begin, end } = extent;
  const multiple = Math.max(alignedRows(4 * depth), alignedRows(4 * outputs));
  const most = Math.min(Math.floor(runner.bindingBytes / (4 * Math.max(depth, outputs))), maxGroups * kernel.tile[0]);
  for (const [first, last] of ranges(rows, most, multiple)) {
    const count = last - first;
    const bindings = [
      part(x, 4 * first * depth, 4 * count * depth),
      window.weight,
      ...(window.bias === undefined ? [] : [window.bias]),
      part(output, 4 * first * outputs, 4 * count * outputs),
    ];
    const params = { rows: count, columns: end - begin, depth, stride: outputs, column: begin, bias: window.biasBegin };
    const groups = [Math.ceil((end - begin) / kernel.tile[1]), Math.ceil(count / kernel.tile[0])] as const;
    runner.queue.dispatch(kernel, bindings, params, groups);
  }
}

export const linearMaps = (recording: Recording): Pick<Ops<GpuNode>, "linear"> => ({
  linear: (x_TI, weight_OI, bias_O, summation = "usual") => {
    const shape = linearShape(x_TI, weight_OI, bias_O);
    const [rows, outputs] = shape;
    const sizes = { rows: rows!, inputs: x_TI.shape[1]!, outputs: outputs!, summation };
    const operands = { x: recording.storage(x_TI), weight: weight_OI.data, bias: bias_O?.data };
    return recording.make(shape, (output) => linearStep(recording.traits, operands, sizes, output));
  },
});
