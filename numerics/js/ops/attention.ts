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
    const keys = { rows: k, from: group * H, stride: K * H, width: H };
    const values = { rows: v, from: group * C, stride: K * C, width: C };
    for (let t = 0; t < T; t++) {
      const first = visible.begin[t]!;
      const end = visible.end[t]!;
      products(q, (t * N + n) * H, keys, first, end, weights);
      let largest = sinks ? sinks[n]! : Number.NEGATIVE_INFINITY;
      for (let u = first; u < end; u++) {
        const scaled = weights[u]! * scale;
        const score = softcap === null ? scaled : softcap * Math.tanh(scaled / softcap);
        weights[u] = score;
        largest = Math.max(largest, score);
      }
      let total = sinks ? Math.exp(sinks[n]! - largest) : 0;
      for (let u = first; u < end; u++) total += weights[u] = Math.exp(weights[u]! - largest);
      for (let u = first; u < end; u++) weights[u] = weights[u]! / total;
      mixture(weights, values, first, end, out, (t * N + n) * C);
    }
  }
}

/** Rows of one head, a token each. */
interface Rows<V extends Values> {
  readonly rows: V;
  readonly from: number;
  readonly stride: number;
  readonly width: number;
}

/** products[u] = q · k[u]. Four keys at a time: each sum keeps its order, and none waits for another. */
function products<V extends Values>(
  q: V,
  query: number,
  { rows, from, stride, width }: Rows<V>,
  first: number,
  end: number,
  products: Float64Array,
): void {
  let u = first;
  let k0 = from + first * stride;
  for (; u + 4 <= end; u += 4, k0 += 4 * stride) {
    const k1 = k0 + stride;
    const k2 = k1 + stride;
    const k3 = k2 + stride;
    let d0 = 0;
    let d1 = 0;
    let d2 = 0;
    let d3 = 0;
    for (let h = 0; h < width; h++) {
      const x = q[query + h]!;
      d0 += x * rows[k0 + h]!;
      d1 += x * rows[k1 + h]!;
      d2 += x * rows[k2 + h]!;
      d3 += x * rows[k3 + h]!;
    }
    products[u] = d0;
    products[u + 1] = d1;
    products[u + 2] = d2;
    products[u + 3] = d3;
  }
  for (; u < end; u++, k0 += stride) {
    let dot = 0;
    for (let h = 0; h < width; h++) dot += q[query + h]! * rows[k0 + h]!;
    products[u] = dot;
  }
}

/** out[row + c] = Σᵤ shares[u] v[u, c], added in the order of tokens; four at a time load and store a sum once. */
function mixture<V extends Values>(
  shares: Float64Array,
  { rows, from, stride, width }: Rows<V>,
  first: number,
  end: number,
  out: V,
  row: number,
): void {
  out.fill(0, row, row + width);
  let u = first;
  let v0 = from + first * stride;
  for (; u + 4 <= end; u += 4, v0 += 4 * stride) {
    const v1 = v0 + stride;
    const v2 = v1 + stride;
    const v3 = v2 + stride;
    const s0 = shares[u]!;
    const s1 = shares[u + 1]!;
    const s2 = shares[u + 2]!;
    const s3 = shares[u + 3]!;
    for (let c = 0; c < width; c++)
      out[row + c] = out[row + c]! + s0 * rows[v0 + c]! + s1 * rows[v1 + c]! + s2 * rows[v2 + c]! + s3 * rows[v3 + c]!;
  }
  for (; u < end; u++, v0 += stride) {
    const share = shares[u]!;
    for (let c = 0; c < width; c++) out[row + c]! += share * rows[v0 + c]!;
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
