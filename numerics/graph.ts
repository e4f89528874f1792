// The ops a forward pass may use. A graph is a plain function over them, so that the same text runs on shapes only,
// on the f64 CPU reference and on WebGPU.
// Suffixes name axes: T tokens, V vocabulary, D model, N query heads, K key/value heads, H head channels, F ffn,
// I/O inputs/outputs of a linear map.

/** A tensor of some backend. Only its shape can be seen by a graph. */
export interface Node {
  readonly shape: readonly number[];
}

/** Which channels a rotation pairs: (x₂ᵢ, x₂ᵢ₊₁), arXiv:2104.09864 eq. 34, or (xᵢ, xᵢ₊ᵣ⸝₂), HF `rotate_half`. */
export type RopePairs = "adjacent" | "half";

/** cos and sin of every position and frequency, [T, R/2] row-major, rounded to f32; R channels of a head are rotated. */
export interface RopeTable {
  readonly tokens: number;
  readonly pairs: number;
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/** Every token sees itself and those before it; a window of size n, itself and the n − 1 before it. */
export type AttentionMask = { readonly kind: "causal" } | { readonly kind: "window"; readonly size: number };

export interface Ops<N extends Node> {
  /** Rows of an embedding: [V, D], T ids → [T, D]. */
  gather(table_VD: N, ids_T: readonly number[]): N;
  /** x · weight / √(mean(x²) + eps) over the last axis; weight has the size of the last axis. */
  rmsNorm(x: N, weight: N, eps: number): N;
  /** x · Wᵀ + b: [T, I], [O, I], [O] → [T, O]. */
  linear(x_TI: N, weight_OI: N, bias_O?: N): N;
  /** The same elements in row-major order under another shape. */
  reshape(x: N, shape: readonly number[]): N;
  /** Indices [begin, end) of one axis. */
  slice(x: N, axis: number, begin: number, end: number): N;
  /** Rotates the first 2·table.pairs channels of each head. */
  rope(x_TNH: N, table: RopeTable, pairs: RopePairs): N;
  /** softmax(scale · q kᵀ + mask) v with grouped key/value heads: query head n uses key head ⌊n / (N/K)⌋. → [T, N, H] */
  attention(q_TNH: N, k_TKH: N, v_TKH: N, options: { readonly scale: number; readonly mask: AttentionMask }): N;
  /** x / (1 + e⁻ˣ). */
  silu(x: N): N;
  mul(a: N, b: N): N;
  add(a: N, b: N): N;
}

/** Fetches a weight by the key its own side uses; throws when the checkpoint has no such tensor. */
export type Weights<N extends Node> = (key: string) => N;

export interface ForwardInput {
  readonly ids_T: readonly number[];
}

/** A named point of a forward pass. Only `value` and `keep` outlive it: the driver frees everything else made so far. */
export interface Tap<N extends Node> {
  /** `embed`, `layers.3.attn` (residual stream after attention), `layers.3.ffn` (after the feed-forward), `norm`. */
  readonly name: string;
  readonly value: N;
  readonly keep?: readonly N[];
}

/** Yields at taps, returns the logits [T, V]. What follows the last tap works row by row, so that it can run in blocks of rows. */
export type Forward = <N extends Node>(
  op: Ops<N>,
  weight: Weights<N>,
  input: ForwardInput,
) => Generator<Tap<N>, N, void>;

/** Where a trainer's forward pass is known to differ from transformers' at some config. */
export interface KnownDifference {
  /** `YARN_ATTENTION_FACTOR` */
  readonly code: string;
  readonly explanation: string;
  /** Permalink to the lines upstream. */
  readonly source: string;
  /** What to do about it. */
  readonly fix: string;
  /** The trainer's forward pass with this difference undone, and those listed before it. */
  readonly undone: Forward;
}
