// Steps that only move elements: axes in another order, tensors one behind another, operands repeated.
import type { Kernel } from "./kernel.ts";
import { place } from "./kernels/copy.ts";
import { permute, type StridedParam, stridedParams } from "./kernels/strided.ts";
import type { Storage } from "./node.ts";
import { flatGroups, part, type Step, whole } from "./step.ts";

/** How an operand is seen: element i of `shape` is at Σ indexₐ · strideₐ. */
export interface Strides {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** A kernel over all elements of the output, whose last operand is seen through strides. */
export function stridedStep(
  kernel: Kernel<StridedParam>,
  inputs: readonly Storage[],
  { shape, strides }: Strides,
  output: Storage,
): Step {
  return {
    inputs,
    output,
    kernels: [kernel],
    uploadBytes: 0,
    async run(runner) {
      const bindings = [...inputs, output].map((storage) => whole(runner, storage));
      runner.queue.dispatch(
        kernel,
        bindings,
        stridedParams(output.elements, shape, strides),
        flatGroups(output.elements),
      );
    },
  };
}

export const permuteStep = (x: Storage, strides: Strides, output: Storage): Step =>
  stridedStep(permute, [x], strides, output);

/** Rows of `widths[i]` elements of each x, one behind another. */
export function concatStep(xs: readonly Storage[], widths: readonly number[], output: Storage): Step {
  const pitch = widths.reduce((sum, n) => sum + n, 0);
  const isOneRow = output.elements === pitch;
  return {
    inputs: xs,
    output,
    kernels: isOneRow ? [] : [place],
    uploadBytes: 0,
    async run(runner) {
      let column = 0;
      for (const [i, x] of xs.entries()) {
        const width = widths[i]!;
        if (isOneRow) {
          runner.queue.copy(part(x, 0, x.bytes), part(output, 4 * column, x.bytes));
        } else {
          const params = { count: x.elements, width, pitch, column };
          runner.queue.dispatch(place, [whole(runner, x), whole(runner, output)], params, flatGroups(x.elements));
        }
        column += width;
      }
    },
  };
}
