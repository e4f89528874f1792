import type { Values } from "./memory.ts";

export interface DeltaRuleSizes {
  readonly T: number;
  /** Heads of queries and keys. */
  readonly K: number;
  /** Heads of values, a multiple of K. */
  readonly N: number;
  readonly H: number;
  readonly C: number;
}

export interface DeltaRuleOperands {
  readonly q: Values;
  readonly k: Values;
  readonly v: Values;
  readonly decay: Values;
  readonly beta: Values;
}

/** The recurrence as it is defined (arXiv:2412.06464 eq. 10), head by head and token by token. */
export function deltaRule(
  { q, k, v, decay, beta }: DeltaRuleOperands,
  { T, K, N, H, C }: DeltaRuleSizes,
  out: Values,
): void {
  const state = new Float64Array(H * C);
  const update = new Float64Array(C);
  const row = new Float64Array(C);
  for (let n = 0; n < N; n++) {
    state.fill(0);
    const group = Math.floor(n / (N / K));
    for (let t = 0; t < T; t++) {
      const key = (t * K + group) * H;
      const value = (t * N + n) * C;
      const keep = Math.exp(decay[t * N + n]!);
      for (let i = 0; i < state.length; i++) state[i]! *= keep;
      // u = beta · (v − Sᵀ k)
      for (let c = 0; c < C; c++) update[c] = v[value + c]!;
      for (let h = 0; h < H; h++) for (let c = 0; c < C; c++) update[c]! -= state[h * C + c]! * k[key + h]!;
      const rate = beta[t * N + n]!;
      for (let c = 0; c < C; c++) update[c]! *= rate;
      // S ← S + k uᵀ, o = Sᵀ q
      row.fill(0);
      for (let h = 0; h < H; h++) {
        for (let c = 0; c < C; c++) {
          state[h * C + c]! += k[key + h]! * update[c]!;
          row[c]! += state[h * C + c]! * q[key + h]!;
        }
      }
      out.set(row, value);
    }
  }
}
