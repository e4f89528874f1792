import type { Ops } from "../../graph.ts";
import { attentionShape } from "../../ops/attention.ts";
import { given } from "../../ops/call.ts";
import { visibleRanges } from "../../visible.ts";
import type { AttentionOperands, AttentionSizes } from "../arithmetic.ts";
import type { Values } from "../memory.ts";
import type { JsNode } from "../node.ts";
import type { Recording } from "../recording.ts";

/**
 * out[t, n] = Σᵤ softmaxᵤ(scale · q[t, n] · k[u, ⌊nK/N⌋]) v[u, ⌊nK/N⌋], u over the tokens that t may see; scores may be
 * capped, and a sink is a logit more in the softmax.
 */
export function attention<V extends Values>(
  { q, k, v, sinks, scale, softcap, visible }: AttentionOperands<V>,
  { T, N, K, H, C }: AttentionSizes,
  out: V,
): void {
  const weights = new Float64Array(T);
  for (let n = 0; n < N; n++) {
    const group = Math.floor(n / (N / K));
    for (let t = 0; t < T; t++) {
      const [first, end] = [visible.begin[t]!, visible.end[t]!];
      const query = (t * N + n) * H;
      let largest = sinks ? sinks[n]! : Number.NEGATIVE_INFINITY;
      for (let u = first; u < end; u++) {
        const key = (u * K + group) * H;
        let dot = 0;
        for (let h = 0; h < H; h++) dot += q[query + h]! * k[key + h]!;
        const score = softcap === null ? dot * scale : softcap * Math.tanh((dot * scale) / softcap);
        weights[u] = score;
        largest = Math.max(largest, score);
      }
      let total = sinks ? Math.exp(sinks[n]! - largest) : 0;
      for (let u = first; u < end; u++) total += weights[u] = Math.exp(weights[u]! - largest);
      const row = out.subarray((t * N + n) * C, (t * N + n + 1) * C).fill(0);
      for (let u = first; u < end; u++) {
        const value = (u * K + group) * C;
        const share = weights[u]! / total;
        for (let c = 0; c < C; c++) row[c]! += share * v[value + c]!;
      }
    }
  }
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
