// Which experts tokens go to, and with which weights: decided on the host in f64 from router logits.
import type { Node, Routing } from "./graph.ts";

/** What tokens chose. Row-major [T, k], in each row by descending score. */
export interface Choice {
  readonly k: number;
  readonly experts: Int32Array;
  readonly weights: Float64Array;
  /** [T]: by how much the last chosen score exceeds the best of those left out; Infinity where none is left. */
  readonly margins: Float64Array;
}

/** A routing whose choice is watched, or made by another run. */
export interface DirectedRouting<N extends Node> extends Routing<N> {
  /** Experts [T, k] to take instead of choosing, where there are such; their weights are this side's own. */
  readonly pinned?: () => Int32Array | undefined;
  readonly observe?: (choice: Choice) => void;
}

/** @param logits [T, E] row-major */
export function chooseExperts<N extends Node>(
  routing: DirectedRouting<N>,
  logits: ArrayLike<number>,
  bias: ArrayLike<number> | null,
): Choice {
  const [T, E] = [routing.logits_TE.shape[0]!, routing.logits_TE.shape[1]!];
  const { router } = routing;
  const { k } = router;
  const pinned = routing.pinned?.();
  const bias_E = bias && Float64Array.from(bias);
  const choice = {
    k,
    experts: new Int32Array(T * k),
    weights: new Float64Array(T * k),
    margins: new Float64Array(T),
  };
  const logits_E = new Float64Array(E);
  for (let t = 0; t < T; t++) {
    for (let e = 0; e < E; e++) logits_E[e] = logits[t * E + e]!;
    const scores = router.select(logits_E, bias_E);
    const best = topK(scores, Math.min(k + 1, E));
    choice.margins[t] = E > k ? scores[best[k - 1]!]! - scores[best[k]!]! : Number.POSITIVE_INFINITY;
    const experts = pinned ? [...pinned.subarray(t * k, (t + 1) * k)] : best.slice(0, k);
    choice.experts.set(experts, t * k);
    choice.weights.set(router.weigh(logits_E, experts), t * k);
  }
  routing.observe?.(choice);
  return choice;
}

/** Rows of `x` that one expert gets, with the weight of each. */
export interface Share {
  readonly expert: number;
  readonly tokens: readonly number[];
  readonly weights: readonly number[];
}

/** Experts that any token chose, in ascending order. */
export function sharesOf({ k, experts, weights }: Choice): Share[] {
  const shares = new Map<number, { tokens: number[]; weights: number[] }>();
  for (const [i, expert] of experts.entries()) {
    const share = shares.get(expert) ?? { tokens: [], weights: [] };
    shares.set(expert, share);
    share.tokens.push(Math.floor(i / k));
    share.weights.push(weights[i]!);
  }
  return [...shares].sort(([a], [b]) => a - b).map(([expert, share]) => ({ expert, ...share }));
}

/** Indices of the k largest values, in descending order; of equal ones the lower index. NaN counts as largest. */
export function topK(values: ArrayLike<number>, k: number): number[] {
  const order = Array.from({ length: values.length }, (_, i) => i);
  const rank = (i: number) => (Number.isNaN(values[i]) ? Number.POSITIVE_INFINITY : values[i]!);
  return order.sort((a, b) => (rank(a) === rank(b) ? a - b : rank(b) - rank(a))).slice(0, k);
}

/** eˣ / Σ eˣ. */
export function softmax(x: ArrayLike<number>): Float64Array {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < x.length; i++) largest = Math.max(largest, x[i]!);
  let total = 0;
  const out = Float64Array.from(x, (value) => {
    const y = Math.exp(value - largest);
    total += y;
    return y;
  });
  return out.map((y) => y / total);
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
