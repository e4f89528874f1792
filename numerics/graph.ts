// The ops a forward pass may use. A graph is a plain function over them, so that the same text runs on shapes alone and on
// every backend: the f64 reference in JavaScript, WebAssembly, WebGPU.
// Suffixes name axes: T tokens, V vocabulary, D model, N query heads, K key/value heads, H head channels,
// C value channels, F ffn, E experts, I/O inputs/outputs of a linear map.

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

/**
 * What a token sees. causal: itself and those before it. window: itself and the size − 1 before it. chunk: itself and
 * those before it in its block of `size` tokens. segments: all of its own segment, before and after; lengths sum to T.
 */
export type AttentionMask =
  | { readonly kind: "causal" }
  | { readonly kind: "window"; readonly size: number }
  | { readonly kind: "chunk"; readonly size: number }
  | { readonly kind: "segments"; readonly lengths: readonly number[] };

/** Functions of one value. `gelu` is exact (erf), `geluTanh` its approximation; arXiv:1606.08415 §2. */
export type Pointwise = "silu" | "sigmoid" | "tanh" | "exp" | "softplus" | "gelu" | "geluTanh";

/** How a token chooses its experts, from its router logits and a bias that guides the choice alone. */
export interface Router {
  /** Experts a token has. */
  readonly k: number;
  /** Scores [E] by which they are chosen: the k largest, of equal ones the lower index. */
  select(logits_E: Float64Array, bias_E: Float64Array | null): ArrayLike<number>;
  /** Weights of the chosen experts, in their order. */
  weigh(logits_E: Float64Array, experts: readonly number[]): readonly number[];
}

export interface Routing<N extends Node> {
  /** Names the choice in reports, alike on both sides: `layers.3`. */
  readonly name: string;
  readonly logits_TE: N;
  readonly bias_E?: N | undefined;
  readonly router: Router;
  /** Whether a choice weighs what an expert gives, or what it gets (torchtitan's `score_before_experts`). */
  readonly weighs: "output" | "input";
}

export interface AttentionOptions<N extends Node> {
  readonly scale: number;
  readonly mask: AttentionMask;
  readonly sinks_N?: N | undefined;
  /** c: scaled scores s become c · tanh(s / c) before they are masked; arXiv:2408.00118 §2. */
  readonly softcap?: number | undefined;
}

/** How many products of a linear map are added in one chain before chains are added to each other. */
export type Summation = "usual" | "short";

/** Of `short`: few enough that small models are summed in another order, too. */
export const SHORT_CHAIN = 8;

export interface Ops<N extends Node> {
  /** Values known beforehand (pixels, interpolation weights), row-major. */
  constant(values: ArrayLike<number>, shape: readonly number[]): N;
  /** Rows of an embedding or of any matrix: [V, D], T ids → [T, D]. */
  gather(table_VD: N, ids_T: readonly number[]): N;
  /** x · weight / √(mean(x²) + eps) over the last axis; weight, where there is one, has the size of the last axis. */
  rmsNorm(x: N, weight: N | null, eps: number): N;
  /** weight · (x − mean(x)) / √(var(x) + eps) + bias over the last axis, var being the mean of squares. */
  layerNorm(x: N, weight: N, bias: N, eps: number): N;
  /** x · Wᵀ + b: [T, I], [O, I], [O] → [T, O]. A graph leaves `summation` out: it is for measuring what rounding does. */
  linear(x_TI: N, weight_OI: N, bias_O?: N, summation?: Summation): N;
  /** The same elements in row-major order under another shape. */
  reshape(x: N, shape: readonly number[]): N;
  /** Indices [begin, end) of one axis. */
  slice(x: N, axis: number, begin: number, end: number): N;
  /** Tensors of equal rank, one behind another along an axis; the other axes agree. */
  concat(xs: readonly N[], axis: number): N;
  /** Axis i of the result is axis order[i] of x. */
  permute(x: N, order: readonly number[]): N;
  /** Rotates the first 2·table.pairs channels of each head. */
  rope(x_TNH: N, table: RopeTable, pairs: RopePairs): N;
  /**
   * softmax(scale · q kᵀ + mask) v with grouped key/value heads: query head n uses key head ⌊n / (N/K)⌋. → [T, N, C]
   * A sink is one more logit of each query head, whose share of the softmax goes nowhere.
   */
  attention(q_TNH: N, k_TKH: N, v_TKC: N, options: AttentionOptions<N>): N;
  map(f: Pointwise, x: N): N;
  /** factor · x + offset. */
  affine(x: N, factor: number, offset?: number): N;
  /** min(max(x, low), high). */
  clamp(x: N, low: number, high: number): N;
  /** a · b and a + b; b is repeated along its axes of size 1 and along leading axes that it lacks. */
  mul(a: N, b: N): N;
  add(a: N, b: N): N;
  /** Depthwise, causal, zeros before the first token: y[t, c] = Σⱼ w[c, j] · x[t − (W − 1) + j, c]. */
  causalConv(x_TC: N, weight_CW: N): N;
  /**
   * Gated delta rule, arXiv:2412.06464 eq. 10. For each head, with state S [H, C] = 0 at first, token by token:
   * S ← exp(decay) · S;  S ← S + k (beta · (v − Sᵀ k))ᵀ;  o = Sᵀ q. Value head n uses key head ⌊n / (N/K)⌋. → [T, N, C]
   */
  deltaRule(q_TKH: N, k_TKH: N, v_TNC: N, decay_TN: N, beta_TN: N): N;
  /**
   * Mixture of experts: Σₑ weight · expert(x, e) over the experts a token chose. `expert` maps the rows of those tokens
   * that chose e, [n, D] → [n, D], by ops on these rows and weights alone. → [T, D]
   */
  mixture(x_TD: N, routing: Routing<N>, expert: (x_nD: N, e: number) => N): N;
}

/** Fetches a weight by the key its own side uses; throws when the checkpoint has no such tensor. */
export type Weights<N extends Node> = (key: string) => N;

/** Images as the Hugging Face processor of a family hands them over. */
export interface ImageInput {
  /** [patches, patchDim] row-major, patches of all images one behind another, in the processor's order and layout. */
  readonly pixels: Float32Array;
  readonly patches: number;
  readonly patchDim: number;
  /** Frames, rows and columns of patches of each image. */
  readonly grids: readonly (readonly [number, number, number])[];
}

export interface ForwardInput {
  readonly ids_T: readonly number[];
  /** Tokens of the input that this is the beginning of, where frequencies follow from its length. */
  readonly wholeLength?: number | undefined;
  /** Whether the side has a tensor by a key of its own, for parts that a checkpoint may come without. */
  readonly has?: ((key: string) => boolean) | undefined;
  readonly images?: ImageInput | undefined;
  /** Time, row and column of every token, where they are given instead of derived from the images. */
  readonly positions_T3?: readonly (readonly [number, number, number])[] | undefined;
}

/** A named point of a forward pass. Only `value` and `keep` outlive it: the driver frees everything else made so far. */
export interface Tap<N extends Node> {
  /** `embed`, `layers.3.attn` (residual stream after attention), `layers.3.ffn` (after the feed-forward), `norm`. */
  readonly name: string;
  readonly value: N;
  readonly keep?: readonly N[];
  /** Its rows tell of the token so many places on. The last rows have none to tell of, and are not compared; 0 unless given. */
  readonly ahead?: number;
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
