import type { Ops } from "../../graph.ts";
import { attentionShape } from "../../ops/attention.ts";
import { given } from "../../ops/call.ts";
import { visibleRanges } from "../../visible.ts";
import type { AttentionOperands, AttentionSizes } from "../arithmetic.ts";
import type { Values } from "../memory.ts";
import type { JsNode } from "../node.ts";
import type { Recording } from "../recording.ts";
import { addMixture, addMixtures, productsOfFour, productsOfOne } from "./attention-tiles.ts";

/**
 * out[t, n] = Σᵤ softmaxᵤ(scale · q[t, n] · k[u, ⌊nK/N⌋]) v[u, ⌊nK/N⌋], u over the tokens that t may see; scores may be
 * capped, and a sink is a logit more in the softmax. Four queries at a time share what they all see; each sum keeps its order.
 */
export function attention<V extends Values>(
  { q, k, v, sinks, scale, softcap, visible }: AttentionOperands<V>,
  { T, N, K, H, C }: AttentionSizes,
  out: V,
): void {
  const weights = new Float64Array(4 * T);
  for (let n = 0; n < N; n++) {
    const group = Math.floor(n / (N / K));
    const queries = { rows: q, from: n * H, stride: N * H, width: H };
    const keys = { rows: k, from: group * H, stride: K * H, width: H };
    const values = { rows: v, from: group * C, stride: K * C, width: C };
    const results = { rows: out, from: n * C, stride: N * C, width: C };
    const sink = sinks ? sinks[n]! : Number.NEGATIVE_INFINITY;
    for (let t = 0; t < T; t += 4) {
      const count = Math.min(4, T - t);
      const [begins, ends] = [visible.begin.subarray(t, t + count), visible.end.subarray(t, t + count)];
      const { first, end } = seenByFour(begins, ends);
      if (end > first) productsOfFour(queries, t, keys, first, end, weights);
      for (let i = 0; i < count; i++) {
        const own = weights.subarray(i * T, (i + 1) * T);
        const [begin, stop] = [begins[i]!, ends[i]!];
        productsOfOne(queries, t + i, keys, begin, Math.min(first, stop), own);
        productsOfOne(queries, t + i, keys, Math.max(end, begin), stop, own);
        softmax(own.subarray(begin, stop), scale, softcap, sink);
        results.rows.fill(0, results.from + (t + i) * results.stride, results.from + (t + i) * results.stride + C);
        addMixture(own, values, begin, Math.min(first, stop), results, t + i);
      }
      if (end > first) addMixtures(weights, T, values, first, end, results, t);
      for (let i = 0; i < count; i++)
        addMixture(weights.subarray(i * T, (i + 1) * T), values, Math.max(end, begins[i]!), ends[i]!, results, t + i);
    }
  }
}

/** Keys that each of four queries sees, in whole fours; of fewer queries none, behind which all that they see comes. */
function seenByFour(begins: Uint32Array, ends: Uint32Array): { readonly first: number; readonly end: number } {
  const [first, end] = [begins.at(-1)!, ends[0]!];
  return begins.length < 4 || end < first + 4 ? { first: 0, end: 0 } : { first, end: end - ((end - first) % 4) };
}

/** Of scaled scores, in place. Where one is NaN, the sum is. */
function softmax(weights: Float64Array, scale: number, softcap: number | null, sink: number): void {
  let largest = sink;
  for (let u = 0; u < weights.length; u++) {
    const scaled = weights[u]! * scale;
    const score = softcap === null ? scaled : softcap * Math.tanh(scaled / softcap);
    weights[u] = score;
    if (score > largest) largest = score;
  }
  let total = sink === Number.NEGATIVE_INFINITY ? 0 : Math.exp(sink - largest);
  for (let u = 0; u < weights.length; u++) total += weights[u] = Math.exp(weights[u]! - largest);
  for (let u = 0; u < weights.length; u++) weights[u] = weights[u]! / total;
}

export const attentions = <V extends Values>(backend: Recording<V>): Pick<Ops<JsNode<V>>, "attention"> => ({
  attention: (q, k, v, options) => {
    const { scale, mask, sinks_N, softcap } = options;
    const values = (x: JsNode<V>) => backend.values(x);
    return backend.record(attentionShape(q, k, v, options), given(q, k, v, sinks_N), (out) => {
      const sizes = { T: q.shape[0]!, N: q.shape[1]!, K: k.shape[1]!, H: q.shape[2]!, C: v.shape[2]! };
      const sinks = sinks_N ? values(sinks_N) : null;
      const visible = visibleRanges(sizes.T, mask);
      return backend.arithmetic.attention(
        { q: values(q), k: values(k), v: values(v), sinks, scale, softcap: softcap ?? null, visible },
        sizes,
        out,
      );
    });
  },
});
