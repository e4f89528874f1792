// The ops of graph.ts on row-major f64 arrays. Each writes all of `out`.
import type { AttentionMask, RopePairs, RopeTable } from "../graph.ts";

/** out = x · weight / √(mean(x²) + eps), row by row. */
export function rmsNorm(x: Float64Array, weight: Float64Array, eps: number, out: Float64Array): void {
  const D = weight.length;
  for (let row = 0; row < x.length; row += D) {
    let squares = 0;
    for (let d = 0; d < D; d++) squares += x[row + d]! ** 2;
    const scale = 1 / Math.sqrt(squares / D + eps);
    for (let d = 0; d < D; d++) out[row + d] = x[row + d]! * scale * weight[d]!;
  }
}

export function slice(
  x: Float64Array,
  shape: readonly number[],
  axis: number,
  range: readonly [number, number],
  out: Float64Array,
): void {
  const inner = shape.slice(axis + 1).reduce((product, n) => product * n, 1);
  const block = shape[axis]! * inner;
  const [from, to] = [range[0] * inner, range[1] * inner];
  for (let source = 0, target = 0; source < x.length; source += block, target += to - from) {
    out.set(x.subarray(source + from, source + to), target);
  }
}

/** (u, v) → (u cos − v sin, u sin + v cos) on the first 2·table.pairs channels of each head. x is [T, N, H]. */
export function rope(
  x: Float64Array,
  [T, N, H]: readonly [number, number, number],
  table: RopeTable,
  pairs: RopePairs,
  out: Float64Array,
): void {
  out.set(x);
  const half = table.pairs;
  const [stride, partner] = pairs === "adjacent" ? [2, 1] : [1, half];
  for (let t = 0; t < T; t++) {
    for (let n = 0; n < N; n++) {
      const head = (t * N + n) * H;
      for (let i = 0; i < half; i++) {
        const [cos, sin] = [table.cos[t * half + i]!, table.sin[t * half + i]!];
        const [u, v] = [x[head + stride * i]!, x[head + stride * i + partner]!];
        out[head + stride * i] = u * cos - v * sin;
        out[head + stride * i + partner] = u * sin + v * cos;
      }
    }
  }
}

export interface AttentionSizes {
  readonly T: number;
  readonly N: number;
  readonly K: number;
  /** Channels of queries and keys. */
  readonly H: number;
  /** Channels of values. */
  readonly C: number;
}

/** out[t, n] = Σᵤ softmaxᵤ(scale · q[t, n] · k[u, ⌊nK/N⌋]) v[u, ⌊nK/N⌋], u over the tokens that t may see. */
export function attention(
  [q, k, v]: readonly [Float64Array, Float64Array, Float64Array],
  { T, N, K, H, C }: AttentionSizes,
  { scale, mask }: { readonly scale: number; readonly mask: AttentionMask },
  out: Float64Array,
): void {
  const weights = new Float64Array(T);
  for (let n = 0; n < N; n++) {
    const group = Math.floor(n / (N / K));
    for (let t = 0; t < T; t++) {
      const first = mask.kind === "window" ? Math.max(0, t - mask.size + 1) : 0;
      const query = (t * N + n) * H;
      let largest = Number.NEGATIVE_INFINITY;
      for (let u = first; u <= t; u++) {
        const key = (u * K + group) * H;
        let dot = 0;
        for (let h = 0; h < H; h++) dot += q[query + h]! * k[key + h]!;
        weights[u] = dot * scale;
        largest = Math.max(largest, dot * scale);
      }
      let total = 0;
      for (let u = first; u <= t; u++) total += weights[u] = Math.exp(weights[u]! - largest);
      const row = out.subarray((t * N + n) * C, (t * N + n + 1) * C).fill(0);
      for (let u = first; u <= t; u++) {
        const value = (u * K + group) * C;
        const share = weights[u]! / total;
        for (let c = 0; c < C; c++) row[c]! += share * v[value + c]!;
      }
    }
  }
}

/** x · sigmoid(x). */
export function silu(x: Float64Array, out: Float64Array): void {
  for (let i = 0; i < x.length; i++) out[i] = x[i]! / (1 + Math.exp(-x[i]!));
}

export function mul(a: Float64Array, b: Float64Array, out: Float64Array): void {
  for (let i = 0; i < a.length; i++) out[i] = a[i]! * b[i]!;
}

export function add(a: Float64Array, b: Float64Array, out: Float64Array): void {
  for (let i = 0; i < a.length; i++) out[i] = a[i]! + b[i]!;
}
