// The op interface of the backends in JavaScript: checks shapes, records kernels.
import { elementCount } from "../../src/base/dtype.ts";
import type { AttentionOptions, Ops } from "../graph.ts";
import * as shapes from "../shapes/infer.ts";
import { visibleRanges } from "../visible.ts";
import { decode } from "./decode.ts";
import { deltaRule } from "./delta-rule.ts";
import * as kernels from "./kernels.ts";
import type { Values } from "./memory.ts";
import type { JsNode } from "./node.ts";
import type { Recording } from "./recording.ts";

/** All but `mixture`. */
export function jsOps<V extends Values>(backend: Recording<V>): Omit<Ops<JsNode<V>>, "mixture"> {
  type X = JsNode<V>;
  const values = (x: X) => backend.values(x);
  const inner = (x: X, axis: number) => elementCount(x.shape.slice(axis));

  const combine = (kind: "mul" | "add", a: X, b: X) => {
    const shape = shapes.broadcastShape(kind, a, b);
    if (elementCount(b.shape) === elementCount(shape)) {
      return backend.record(shape, [a, b], (out) => backend.arithmetic.combine(kind, values(a), values(b), out));
    }
    const layout = { shape, strides: kernels.broadcastStrides(shape, b.shape) };
    return backend.record(shape, [a, b], (out) => kernels.combine(kind, values(a), values(b), layout, out));
  };

  return {
    constant: (given, shape) => backend.record(shapes.constantShape(given, shape), [], (out) => out.set(given)),
    gather: (table, ids) =>
      backend.record(shapes.gatherShape(table, ids), [table], (out) => gatherRows(table, ids, out)),
    rmsNorm: (x, weight, eps) => {
      const weights = weight ? [weight] : [];
      return backend.record(shapes.normShape("rmsNorm", x, ...weights), [x, ...weights], (out) =>
        kernels.rmsNorm(values(x), weight && values(weight), eps, x.shape.at(-1)!, out),
      );
    },
    layerNorm: (x, weight, bias, eps) =>
      backend.record(shapes.normShape("layerNorm", x, weight, bias), [x, weight, bias], (out) =>
        kernels.layerNorm(values(x), values(weight), values(bias), eps, out),
      ),
    linear: (x, weight, bias, summation = "usual") => {
      const shape = shapes.linearShape(x, weight, bias);
      const [T, O, I] = [shape[0]!, shape[1]!, x.shape[1]!];
      return backend.record(shape, bias ? [x, weight, bias] : [x, weight], (out) => {
        const w = weight.storage?.data ?? weight.view ?? values(weight);
        const operands = { x: values(x), weight: w, bias: bias ? values(bias) : null, T, O, I, summation };
        return backend.arithmetic.linear(operands, out, backend.memory);
      });
    },
    reshape: (x, shape) => backend.alias(x, shapes.reshapeShape(x, shape)),
    slice: (x, axis, begin, end) => {
      const shape = shapes.sliceShape(x, axis, begin, end);
      const size = inner(x, axis + 1);
      if (x.view && x.storage === undefined && elementCount(x.shape.slice(0, axis)) === 1) {
        return backend.part(x, shape, begin * size);
      }
      return backend.record(shape, [x], (out) => kernels.slice(values(x), [x.shape[axis]!, size], [begin, end], out));
    },
    concat: (xs, axis) =>
      backend.record(shapes.concatShape(xs, axis), xs, (out) =>
        kernels.concat(
          xs.map(values),
          xs.map((x) => inner(x, axis)),
          out,
        ),
      ),
    permute: (x, order) => {
      const shape = shapes.permuteShape(x, order);
      const strides = kernels.stridesOf(x.shape);
      const moved = order.map((axis) => strides[axis]!);
      return backend.record(shape, [x], (out) => kernels.strided(values(x), shape, moved, out));
    },
    rope: (x, table, pairs) =>
      backend.record(shapes.ropeShape(x, table), [x], (out) =>
        kernels.rope(values(x), [x.shape[0]!, x.shape[1]!, x.shape[2]!], table, pairs, out),
      ),
    attention: (q, k, v, options) => attention(q, k, v, options),
    map: (f, x) => backend.record(x.shape, [x], (out) => backend.arithmetic.map(f, values(x), out)),
    affine: (x, factor, offset = 0) =>
      backend.record(x.shape, [x], (out) => kernels.affine(values(x), factor, offset, out)),
    clamp: (x, low, high) => backend.record(x.shape, [x], (out) => kernels.clamp(values(x), low, high, out)),
    mul: (a, b) => combine("mul", a, b),
    add: (a, b) => combine("add", a, b),
    causalConv: (x, weight) =>
      backend.record(shapes.causalConvShape(x, weight), [x, weight], (out) =>
        kernels.causalConv(values(x), values(weight), x.shape[1]!, out),
      ),
    deltaRule: (q, k, v, decay, beta) =>
      backend.record(shapes.deltaRuleShape(q, k, v, decay, beta), [q, k, v, decay, beta], (out) => {
        const sizes = { T: q.shape[0]!, K: q.shape[1]!, N: v.shape[1]!, H: q.shape[2]!, C: v.shape[2]! };
        deltaRule({ q: values(q), k: values(k), v: values(v), decay: values(decay), beta: values(beta) }, sizes, out);
      }),
  };

  /** Of a weight, only the rows asked for are read. */
  function gatherRows(table: X, ids: readonly number[], out: V): void {
    const D = table.shape[1]!;
    for (const [t, id] of ids.entries()) {
      const row = out.subarray(t * D, (t + 1) * D);
      if (table.storage) row.set(table.storage.data.subarray(id * D, (id + 1) * D));
      else decode(table.view!.source, table.view!.begin + id * D, row);
    }
  }

  function attention(q: X, k: X, v: X, { scale, mask, sinks_N, softcap }: AttentionOptions<X>): X {
    const shape = shapes.attentionShape(q, k, v, { scale, mask, sinks_N });
    const inputs = sinks_N ? [q, k, v, sinks_N] : [q, k, v];
    return backend.record(shape, inputs, (out) => {
      const sizes = { T: q.shape[0]!, N: q.shape[1]!, K: k.shape[1]!, H: q.shape[2]!, C: v.shape[2]! };
      const sinks = sinks_N ? values(sinks_N) : null;
      const visible = visibleRanges(sizes.T, mask);
      return backend.arithmetic.attention(
        { q: values(q), k: values(k), v: values(v), sinks, scale, softcap: softcap ?? null, visible },
        sizes,
        out,
      );
    });
  }
}
