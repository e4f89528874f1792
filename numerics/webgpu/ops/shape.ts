// Ops that move elements and compute nothing.
import { elementCount } from "../../../src/base/dtype.ts";
import type { Ops } from "../../graph.ts";
import { concatShape, permuteShape, reshapeShape, sliceShape } from "../../ops/shape.ts";
import { stridesOf } from "../../ops/strides.ts";
import * as copies from "../kernels/copy.ts";
import { permute } from "../kernels/strided.ts";
import { GpuNode, Storage } from "../node.ts";
import type { Recording } from "../recording.ts";
import { flatGroups, part, type Step, stridedStep, whole } from "../step.ts";

/** Indices [begin, end) of the middle axis of [outer, size, inner]. */
function sliceStep(
  x: Storage,
  [outer, size, inner]: readonly [number, number, number],
  begin: number,
  end: number,
  output: Storage,
): Step {
  const taken = end - begin;
  return {
    inputs: [x],
    output,
    kernels: [copies.slice],
    uploadBytes: 0,
    async run(runner) {
      if (outer === 1) {
        runner.queue.copy(part(x, 4 * begin * inner, output.bytes), part(output, 0, output.bytes));
        return;
      }
      const params = { count: output.elements, size, inner, begin, taken };
      const bindings = [whole(runner, x), whole(runner, output)];
      runner.queue.dispatch(copies.slice, bindings, params, flatGroups(output.elements));
    },
  };
}

/** Rows of `widths[i]` elements of each x, one behind another. */
function concatStep(xs: readonly Storage[], widths: readonly number[], output: Storage): Step {
  const pitch = widths.reduce((sum, n) => sum + n, 0);
  const isOneRow = output.elements === pitch;
  return {
    inputs: xs,
    output,
    kernels: isOneRow ? [] : [copies.place],
    uploadBytes: 0,
    async run(runner) {
      let column = 0;
      for (const [i, x] of xs.entries()) {
        const width = widths[i]!;
        if (isOneRow) {
          runner.queue.copy(part(x, 0, x.bytes), part(output, 4 * column, x.bytes));
        } else {
          const params = { count: x.elements, width, pitch, column };
          runner.queue.dispatch(
            copies.place,
            [whole(runner, x), whole(runner, output)],
            params,
            flatGroups(x.elements),
          );
        }
        column += width;
      }
    },
  };
}

export const moving = (recording: Recording): Pick<Ops<GpuNode>, "reshape" | "slice" | "concat" | "permute"> => ({
  reshape: (x, shape) => new GpuNode(reshapeShape(x, shape), x.data),
  slice: (x, axis, begin, end) => {
    const shape = sliceShape(x, axis, begin, end);
    const outer = elementCount(x.shape.slice(0, axis));
    const inner = elementCount(x.shape.slice(axis + 1));
    const { data } = x;
    if (outer === 1 && !(data instanceof Storage)) {
      return new GpuNode(shape, { ...data, begin: data.begin + begin * inner });
    }
    const input = recording.storage(x);
    return recording.make(shape, (output) => sliceStep(input, [outer, x.shape[axis]!, inner], begin, end, output));
  },
  concat: (xs, axis) => {
    const shape = concatShape(xs, axis);
    const widths = xs.map((x) => elementCount(x.shape.slice(axis)));
    const inputs = xs.map((x) => recording.storage(x));
    return recording.make(shape, (output) => concatStep(inputs, widths, output));
  },
  permute: (x, order) => {
    const shape = permuteShape(x, order);
    const strides = stridesOf(x.shape);
    const moved = { shape, strides: order.map((axis) => strides[axis]!) };
    const input = recording.storage(x);
    return recording.make(shape, (output) => stridedStep(permute, [input], moved, output));
  },
});
