// A config as arguments of Megatron-LM, for `--use-checkpoint-args`: what the config says of the model, and nothing of a run.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/training/checkpointing.py, `load_args_from_checkpoint`
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";

/** Of a decoder whose layers are alike; sizes in elements, lengths in tokens. */
interface Decoder {
  readonly nLayers: number;
  readonly vocabSize: number;
  readonly dim: number;
  readonly ffnDim: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly normEps: number;
  readonly tied: boolean;
  readonly rope: RopeSpec;
  readonly maxPositions: number;
  readonly dtype: string | null;
}

interface Options {
  readonly qkNorm: boolean;
  /** Of every linear map. */
  readonly biases: boolean;
}

/** Null where they have no word for what the config says: then none are written, and a run takes those of its command line. */
export function decoderArguments(c: Decoder, { qkNorm, biases }: Options): JsonObject | null {
  const rope = ropeArguments(c.rope);
  if (rope === null) return null;
  return {
    num_layers: c.nLayers,
    hidden_size: c.dim,
    ffn_hidden_size: c.ffnDim,
    num_attention_heads: c.nHeads,
    group_query_attention: c.nKvHeads !== c.nHeads,
    num_query_groups: c.nKvHeads,
    kv_channels: c.headDim,
    normalization: "RMSNorm",
    norm_epsilon: c.normEps,
    apply_layernorm_1p: false,
    swiglu: true,
    add_bias_linear: biases,
    add_qkv_bias: biases,
    qk_layernorm: qkNorm,
    position_embedding_type: "rope",
    ...rope,
    rotary_percent: 1,
    rotary_interleaved: false,
    max_position_embeddings: c.maxPositions,
    untie_embeddings_and_output_weights: !c.tied,
    // Before padding: how many rows there are is for the run to say, which knows its tensor parallel size.
    vocab_size: c.vocabSize,
    num_experts: null,
    multi_latent_attention: false,
    ...(c.dtype === null ? {} : { bf16: c.dtype === "bfloat16", fp16: c.dtype === "float16" }),
    ckpt_format: "torch_dist",
  };
}

/** Llama 3.1's scaling has its other numbers in Megatron-Core's source. */
function ropeArguments(rope: RopeSpec): JsonObject | null {
  if (rope.kind === "default") return { rotary_base: rope.theta, use_rope_scaling: false };
  const isFixed =
    rope.kind === "llama3" &&
    rope.lowFreqFactor === 1 &&
    rope.highFreqFactor === 4 &&
    rope.originalMaxPositions === 8192;
  return isFixed ? { rotary_base: rope.theta, use_rope_scaling: true, rope_scaling_factor: rope.factor } : null;
}
