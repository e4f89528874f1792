// What the mathematics of a dense decoder is made of, at one concrete config. Both graphs read it; traits/ says where
// each architecture's values come from.
import type { RopePairs } from "../../numerics/graph.ts";
import type { DenseRope } from "./rope.ts";

export type Activation = "silu" | "gelu" | "geluTanh" | "relu" | "relu2" | "xielu";

export interface Norm {
  readonly kind: "rms" | "layer";
  readonly eps: number;
  /** What the normalised values are multiplied by: the weight, 1 + the weight, or nothing. */
  readonly weight: "plain" | "plusOne" | "none";
  readonly bias: boolean;
}

/** Names of a layer's norms, by their place; null where there is no norm. */
export interface NormPlaces {
  readonly beforeAttention: string | null;
  readonly afterAttention: string | null;
  readonly beforeMlp: string | null;
  readonly afterMlp: string | null;
}

export interface QkNorm {
  readonly norm: Norm;
  readonly q: string;
  readonly k: string;
  /**
   * head: each head by one weight [H]. whole: all heads as one vector. heads: each head by a row of a weight [N, H].
   * modules: the same, with each head's weight in a tensor of its own, `norms.{n}.weight`.
   */
  readonly over: "head" | "whole" | "heads" | "modules";
  readonly afterRope: boolean;
}

/** Low-rank queries, keys and values (DeepSeek-V2, arXiv:2405.04434 §2.1), in channels. */
export interface Latent {
  /** null: queries are projected directly. */
  readonly qRank: number | null;
  readonly kvRank: number;
  readonly nopeDim: number;
  readonly ropeDim: number;
  readonly valueDim: number;
  /** Epsilon of the latents' norms. */
  readonly eps: number;
}

export interface Attention {
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  /** split: q_proj, k_proj, v_proj. fused: qkv_proj, their rows one behind another. perHead: query_key_value [N, 3, H]. */
  readonly projections: "split" | "fused" | "perHead";
  readonly output: "o_proj" | "dense";
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  /** Largest size of a projected value. */
  readonly clip: number | null;
  readonly qkNorm: QkNorm | null;
  readonly latent: Latent | null;
  readonly scale: number;
  /** c of c · tanh(score / c). */
  readonly softcap: number | null;
  /** `sinks` [N]: a logit more in the softmax of each head. */
  readonly sinks: boolean;
  /** A norm over the heads' output, before the output projection. */
  readonly subNorm: string | null;
  /** The difference of two softmaxes (arXiv:2410.05258). */
  readonly differential: boolean;
  /**
   * Doge (arXiv:2412.11834): a key's scores get exp(A · softplus(dt · v)) on top, and where there are more than
   * `keepWindow` tokens only that many of the largest count; null where there is no such thing.
   */
  readonly dynamicMask: { readonly keepWindow: number } | null;
  /** Queries grow with their position t by 1 + beta · ln(1 + ⌊t / span⌋). */
  readonly growth: { readonly beta: number; readonly span: number } | null;
}

export interface Mlp {
  /** gated: down(f(gate x) ⊙ up x). fused: the same, gate and up in one matrix. plain: down(f(up x)). */
  readonly kind: "gated" | "fused" | "plain";
  /** Modules: gate and up, or the one that holds both; then down. */
  readonly into: readonly string[];
  readonly down: string;
  readonly bias: boolean;
  readonly activation: Activation;
  /** A norm before `down`. */
  readonly subNorm: string | null;
}

export interface Layer {
  /** How many tokens a position sees, itself included; null where it sees all before it. */
  readonly window: number | null;
  /** null: no position at all. */
  readonly rope: DenseRope | null;
}

export interface Decoder {
  readonly layers: readonly Layer[];
  /** Channels of the residual stream. */
  readonly dim: number;
  readonly tied: boolean;
  readonly embedScale: number;
  /** The final norm also stands before the first layer. */
  readonly embedNorm: boolean;
  readonly norm: Norm;
  readonly places: NormPlaces;
  /** Attention and MLP read one normed input, and both are added to the residual. */
  readonly parallel: boolean;
  readonly residualScale: number;
  /** Weights [D] that the residual is multiplied by before attention and MLP are added; null for none. */
  readonly residualWeights: { readonly attention: string; readonly mlp: string } | null;
  readonly attention: Attention;
  /** RoPE's scaling follows from max_position_embeddings. */
  readonly scalesByContext: boolean;
  /** minus: by the opposite angle. */
  readonly rotation: { readonly pairs: RopePairs; readonly minus: boolean };
  readonly mlp: Mlp;
  readonly finalNorm: string;
  readonly headBias: boolean;
  /** What is done to the head's output: times a scale, then c · tanh(x / c). */
  readonly logits: { readonly scale: number; readonly softcap: number | null };
}
