import type { VisibleRanges } from "../visible.ts";
import type { Values } from "./memory.ts";

export interface AttentionSizes {
  readonly T: number;
  readonly N: number;
  readonly K: number;
  /** Channels of queries and keys. */
  readonly H: number;
  /** Channels of values. */
  readonly C: number;
}

export interface AttentionOperands<V extends Values> {
  readonly q: V;
  readonly k: V;
  readonly v: V;
  readonly sinks: V | null;
  readonly scale: number;
  /** c of c · tanh(score / c). */
  readonly softcap: number | null;
  readonly visible: VisibleRanges;
}

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
