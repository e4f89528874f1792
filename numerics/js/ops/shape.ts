// Ops that move elements and compute nothing.
import { elementCount } from "../../../src/base/dtype.ts";
import type { Ops } from "../../graph.ts";
import { concatShape, permuteShape, reshapeShape, sliceShape } from "../../ops/shape.ts";
import { offsetOfRow, stridesOf } from "../../ops/strides.ts";
import type { Values } from "../memory.ts";
import type { JsNode } from "../node.ts";
import type { Recording } from "../recording.ts";

/** Indices [begin, end) of the middle axis of [outer, size, inner]. */
function slice(
  x: Values,
  [size, inner]: readonly [number, number],
  [begin, end]: readonly [number, number],
  out: Values,
): void {
  const block = size * inner;
  const [from, to] = [begin * inner, end * inner];
  for (let source = 0, target = 0; source < x.length; source += block, target += to - from) {
    out.set(x.subarray(source + from, source + to), target);
  }
}

/** Rows of `widths[i]` elements of each x, one behind another. */
function concat(xs: readonly Values[], widths: readonly number[], out: Values): void {
  const total = widths.reduce((sum, n) => sum + n, 0);
  let column = 0;
  for (const [i, x] of xs.entries()) {
    const width = widths[i]!;
    for (let from = 0, to = column; from < x.length; from += width, to += total)
      out.set(x.subarray(from, from + width), to);
    column += width;
  }
}

/** out[i₀, …] of `shape` = x at Σ iₐ · strides[a]; strides of 0 repeat. */
function strided(x: Values, shape: readonly number[], strides: readonly number[], out: Values): void {
  const width = shape.at(-1) ?? 1;
  const step = strides.at(-1) ?? 0;
  for (let row = 0, to = 0; to < out.length; row++) {
    let from = offsetOfRow(row, shape, strides);
    for (let i = 0; i < width; i++, from += step) out[to++] = x[from]!;
  }
}

export function moving<V extends Values>(
  backend: Recording<V>,
): Pick<Ops<JsNode<V>>, "reshape" | "slice" | "concat" | "permute"> {
  const values = (x: JsNode<V>) => backend.values(x);
  const inner = (x: JsNode<V>, axis: number) => elementCount(x.shape.slice(axis));
  return {
    reshape: (x, shape) => backend.alias(x, reshapeShape(x, shape)),
    slice: (x, axis, begin, end) => {
      const shape = sliceShape(x, axis, begin, end);
      const size = inner(x, axis + 1);
      if (x.view && x.storage === undefined && elementCount(x.shape.slice(0, axis)) === 1) {
        return backend.part(x, shape, begin * size);
      }
      return backend.record(shape, [x], (out) => slice(values(x), [x.shape[axis]!, size], [begin, end], out));
    },
    concat: (xs, axis) =>
      backend.record(concatShape(xs, axis), xs, (out) =>
        concat(
          xs.map(values),
          xs.map((x) => inner(x, axis)),
          out,
        ),
      ),
    permute: (x, order) => {
      const shape = permuteShape(x, order);
      const strides = stridesOf(x.shape);
      const moved = order.map((axis) => strides[axis]!);
      return backend.record(shape, [x], (out) => strided(values(x), shape, moved, out));
    },
  };
}
