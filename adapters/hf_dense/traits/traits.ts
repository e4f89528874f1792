// What each architecture of transformers computes, read from its own modeling and configuration file:
//   huggingface/transformers@v5.23.0:src/transformers/models/<file>/{modeling,configuration}_<file>.py
// Defaults are those of its config class, for fields that a config may leave out.
import type { RopePairs } from "../../../numerics/graph.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import type { Decoder, Mlp, NormPlaces, QkNorm } from "../decoder.ts";

/** A field of the config and its default; null: nothing is done where the field is absent or null. */
type Field<T> = readonly [name: string, byDefault: T];

/** Which layers have a window. all: every one, where `sliding_window` is not null. types: those of `layer_types`. */
export type Windows =
  | { readonly by: "none" }
  | { readonly by: "all"; readonly size: number | null }
  | {
      readonly by: "types";
      readonly size: number | null;
      /** Default of `sliding_window_pattern`. */
      readonly pattern: number;
      /** Whether layer i has one where `layer_types` is absent. */
      readonly isSliding: (i: number, fields: WindowFields) => boolean;
      /** Without `use_sliding_window`, `sliding_window` does not count. */
      readonly asked?: true;
    };

export interface WindowFields {
  /** `sliding_window`; null for none. */
  readonly size: number | null;
  /** `sliding_window_pattern` and `max_window_layers`, where the architecture has a default of them. */
  readonly pattern: number;
  readonly maxWindowLayers: number;
  /** `use_sliding_window` */
  readonly isAsked: boolean;
  readonly rotates: (i: number) => boolean;
}

/**
 * Which layers have RoPE. windows: layers with a window. Other values are named after the config field that decides.
 */
type Rotates = "all" | "windows" | "windows, if any" | "no_rope_layers" | "layer_rope_theta";

export interface Traits {
  /** Folder and suffix of the modeling file. */
  readonly file: string;
  readonly kvHeads: number | null;
  /** Channels of a head; null: hidden_size / num_attention_heads. */
  readonly headDim: number | null;
  /** Heads are hidden_size / num_attention_heads whatever `head_dim` says. */
  readonly headDimIsFixed: boolean;
  readonly norm:
    | "rms"
    | "rms, 1 + weight"
    | "rms, no weight"
    | "layer"
    | "layer, 1 + weight"
    | "layer, no bias"
    | "layer, alone";
  readonly eps: Field<number> | number;
  readonly places: NormPlaces;
  readonly afterNorms?: { readonly unless: Field<boolean>; readonly attention: string; readonly mlp: string };
  readonly finalNorm: string;
  readonly embedNorm: boolean;
  readonly parallel: boolean | Field<boolean>;
  /** √hidden_size, or a field. */
  readonly embedScale: "sqrt" | Field<number> | null;
  readonly residualScale: Field<number> | "minicpm" | null;
  /** What multiplies the logits, or divides them. */
  readonly logits: { readonly times: Field<number> } | { readonly by: Field<number> } | "minicpm" | null;
  readonly finalSoftcap: number | null | undefined;
  readonly headBias: boolean;
  readonly attentionScale: { readonly times: Field<number | null> } | { readonly rootOf: Field<number> } | null;
  readonly attentionSoftcap: number | null | undefined;
  readonly projections: "split" | "fused" | "perHead";
  readonly output: "o_proj" | "dense";
  readonly qkvBias: boolean | Field<boolean>;
  readonly outputBias: boolean | Field<boolean>;
  readonly clip: boolean;
  readonly qkNorm:
    | (Omit<QkNorm, "norm" | "afterRope"> & {
        readonly afterRope?: boolean;
        readonly norm?: "layer";
        readonly when?: Field<boolean>;
      })
    | null;
  readonly latent: { readonly interleave: boolean } | null;
  readonly sinks: boolean;
  readonly attentionSubNorm: string | null;
  readonly differential: boolean;
  readonly dynamicMask: boolean;
  readonly residualWeights: Decoder["residualWeights"];
  readonly growth: boolean;
  readonly windows: Windows;
  readonly rotates: Rotates;
  readonly theta: number;
  /** `rope_parameters` where the config says nothing. */
  readonly rope?: JsonObject;
  /** RoPE by type of layer, thetas of v4 by field and default. */
  readonly ropeByType?: { readonly full: Field<number>; readonly sliding: Field<number> };
  /** Rotated share of each head, where the architecture has this field. */
  readonly partial: number | null;
  readonly pairs: RopePairs;
  readonly minus: boolean;
  /** `rope_type: dynamic` with `alpha` is a larger theta. */
  readonly ntkAlpha: boolean;
  readonly mlp: Pick<Mlp, "kind" | "into" | "down" | "subNorm">;
  readonly mlpBias: boolean | Field<boolean>;
  readonly activation: Field<string>;
  /** Activations that this architecture gives another meaning. */
  readonly activationAlias?: Readonly<Record<string, string>>;
}

export const PRE: NormPlaces = {
  beforeAttention: "input_layernorm",
  afterAttention: null,
  beforeMlp: "post_attention_layernorm",
  afterMlp: null,
};
export const POST: NormPlaces = {
  beforeAttention: null,
  afterAttention: "post_attention_layernorm",
  beforeMlp: null,
  afterMlp: "post_feedforward_layernorm",
};
export const SANDWICH: NormPlaces = {
  ...POST,
  beforeAttention: "input_layernorm",
  beforeMlp: "pre_feedforward_layernorm",
};
export const FIRST: NormPlaces = { ...PRE, beforeMlp: null };

export const GATED = { kind: "gated", into: ["gate_proj", "up_proj"], down: "down_proj", subNorm: null } as const;
export const FUSED = { kind: "fused", into: ["gate_up_proj"], down: "down_proj", subNorm: null } as const;
export const plain = (up: string, down: string) => ({ kind: "plain", into: [up], down, subNorm: null }) as const;

export const Q_K_NORM = { q: "q_norm", k: "k_norm", over: "head" } as const;

type ByTypes = Extract<Windows, { by: "types" }>;
export const types = (size: number | null, isSliding: ByTypes["isSliding"], pattern = 1): ByTypes => ({
  by: "types",
  size,
  isSliding,
  pattern,
});
export const EVERY_OTHER = types(4096, (i) => i % 2 === 0);
/** All but every n-th. */
export const patterned = (size: number, pattern: number) =>
  types(size, (i, { pattern: n }) => (i + 1) % n !== 0, pattern);

export const LLAMA: Traits = {
  file: "llama",
  kvHeads: null,
  headDim: null,
  headDimIsFixed: false,
  norm: "rms",
  eps: ["rms_norm_eps", 1e-6],
  places: PRE,
  finalNorm: "norm",
  embedNorm: false,
  parallel: false,
  embedScale: null,
  residualScale: null,
  logits: null,
  finalSoftcap: undefined,
  headBias: false,
  attentionScale: null,
  attentionSoftcap: undefined,
  projections: "split",
  output: "o_proj",
  qkvBias: false,
  outputBias: false,
  clip: false,
  qkNorm: null,
  latent: null,
  sinks: false,
  attentionSubNorm: null,
  differential: false,
  dynamicMask: false,
  residualWeights: null,
  growth: false,
  windows: { by: "none" },
  rotates: "all",
  theta: 10_000,
  partial: null,
  pairs: "half",
  minus: false,
  ntkAlpha: false,
  mlp: GATED,
  mlpBias: false,
  activation: ["hidden_act", "silu"],
};

export const LLAMA3_ROPE = {
  rope_type: "llama3",
  original_max_position_embeddings: 8192,
  low_freq_factor: 1,
  high_freq_factor: 4,
};
export const TANH = ["hidden_activation", "gelu_pytorch_tanh"] as const;
