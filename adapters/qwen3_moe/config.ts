// Config of Qwen3-MoE: HF's Qwen3MoeConfig and the older Qwen3ModelArgs of torchtitan.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_moe/configuration_qwen3_moe.py
//   pytorch/torchtitan@v0.2.2:torchtitan/models/qwen3/model/args.py
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { checkHeads, parseHfDtype } from "../common/heads.ts";
import { parsePlainMoeArgs } from "../common/moe-args.ts";
import { hfRopeParameters, parseHfRope } from "../common/rope-config.ts";
import { modelArgs } from "../trainers/torchtitan-config.ts";

/** Sizes in elements, lengths in tokens. */
export interface Qwen3MoeConfig {
  readonly nLayers: number;
  /** Layers with one feed-forward in place of experts, ascending. */
  readonly denseLayers: readonly number[];
  readonly vocabSize: number;
  readonly dim: number;
  /** Of a dense layer. */
  readonly ffnDim: number;
  /** Of one expert. */
  readonly expertDim: number;
  readonly nExperts: number;
  /** Experts per token. */
  readonly topK: number;
  /** Whether the weights of the chosen experts are normalised to sum to 1. */
  readonly normTopK: boolean;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly normEps: number;
  /** The output head is the embedding. */
  readonly tied: boolean;
  readonly rope: RopeSpec;
  /** Biases of q, k, v and o. */
  readonly attentionBias: boolean;
  readonly maxPositions: number;
  /** How many tokens a position sees, itself included; null where it sees all before it. */
  readonly window: number | null;
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

/** Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseQwen3MoeConfig(json: JsonObject, where: string): Qwen3MoeConfig {
  if (json.model_type !== undefined) return parseHf(json, where);
  return checkHeads(parseModelArgs(modelArgs(json, where, "qwen3_moe")), where);
}

/** Defaults are those of Qwen3MoeConfig. */
function parseHf(json: JsonObject, where: string): Qwen3MoeConfig {
  const config = new ConfigReader(json, where);
  config.only("model_type", "qwen3_moe", "is another family");
  config.onlyActivation("hidden_act", "silu");
  const nLayers = config.layers("num_hidden_layers", 24);
  const dim = config.size("hidden_size", 2048);
  const nHeads = config.size("num_attention_heads", 32);
  const headDim = config.optional("head_dim", config.size) ?? dim / nHeads;
  if (!Number.isInteger(headDim)) config.fail("hidden_size", `a multiple of num_attention_heads (${nHeads})`);
  const maxPositions = config.size("max_position_embeddings", 32_768);
  const windowed = config.boolean("use_sliding_window", false) && !config.isNull("sliding_window");
  return checkHeads(
    {
      nLayers,
      denseLayers: parseDenseLayers(config, nLayers),
      vocabSize: config.size("vocab_size", 151_936),
      dim,
      ffnDim: config.size("intermediate_size", 6144),
      expertDim: config.size("moe_intermediate_size", 768),
      nExperts: config.size(config.has("num_local_experts") ? "num_local_experts" : "num_experts", 128),
      topK: config.size("num_experts_per_tok", 8),
      normTopK: config.boolean("norm_topk_prob", false),
      nHeads,
      nKvHeads: json.num_key_value_heads === null ? nHeads : config.size("num_key_value_heads", 4),
      headDim,
      normEps: config.number("rms_norm_eps", 1e-6),
      tied: config.boolean("tie_word_embeddings", false),
      rope: parseHfRope(config, headDim, maxPositions),
      attentionBias: config.boolean("attention_bias", false),
      maxPositions,
      window: windowed ? config.size("sliding_window", 4096) : null,
      dtype: parseHfDtype(config),
    },
    where,
  );
}

function parseModelArgs(args: ConfigReader): Qwen3MoeConfig {
  if (!args.boolean("moe_enabled", false)) args.unsupported("moe_enabled", "true", "makes this the dense family");
  args.only("qk_norm", true, "has no place on the Hugging Face side");
  const { nExperts, topK, normalise } = parsePlainMoeArgs(args, false);
  const headDim = args.size("head_dim", 128);
  return {
    nLayers: args.layers("n_layers", 28),
    denseLayers: [],
    vocabSize: args.size("vocab_size", 151_936),
    dim: args.size("dim", 1024),
    ffnDim: args.size("hidden_dim", 3072),
    expertDim: args.size("moe_inter_dim", 768),
    nExperts,
    topK,
    normTopK: normalise,
    nHeads: args.size("n_heads", 16),
    nKvHeads: args.size("n_kv_heads", 8),
    headDim,
    normEps: args.number("norm_eps", 1e-6),
    tied: args.boolean("enable_weight_tying", false),
    rope: { kind: "default", theta: args.number("rope_theta", 1_000_000), dims: headDim },
    attentionBias: false,
    maxPositions: args.size("max_seq_len", 4096),
    window: null,
    dtype: null,
  };
}

/** config.json in v5 spelling. */
export const qwen3MoeHfConfig = (config: Qwen3MoeConfig): JsonObject => ({
  architectures: ["Qwen3MoeForCausalLM"],
  model_type: "qwen3_moe",
  vocab_size: config.vocabSize,
  hidden_size: config.dim,
  intermediate_size: config.ffnDim,
  moe_intermediate_size: config.expertDim,
  num_hidden_layers: config.nLayers,
  num_attention_heads: config.nHeads,
  num_key_value_heads: config.nKvHeads,
  head_dim: config.headDim,
  num_experts: config.nExperts,
  num_experts_per_tok: config.topK,
  norm_topk_prob: config.normTopK,
  mlp_only_layers: config.denseLayers,
  decoder_sparse_step: 1,
  hidden_act: "silu",
  max_position_embeddings: config.maxPositions,
  rms_norm_eps: config.normEps,
  rope_parameters: hfRopeParameters(config.rope),
  tie_word_embeddings: config.tied,
  attention_bias: config.attentionBias,
  use_sliding_window: config.window !== null,
  sliding_window: config.window,
  ...(config.dtype === null ? {} : { dtype: config.dtype }),
});

/** Those of `mlp_only_layers`, and all but every `decoder_sparse_step`-th. */
function parseDenseLayers(config: ConfigReader, nLayers: number): number[] {
  const step = config.size("decoder_sparse_step", 1);
  const named = new Set(
    config.has("mlp_only_layers") && !config.isNull("mlp_only_layers") ? config.list("mlp_only_layers") : [],
  );
  for (const layer of named) {
    if (typeof layer !== "number" || !Number.isInteger(layer))
      config.fail("mlp_only_layers", "a list of layer indices");
  }
  return Array.from({ length: nLayers }, (_, i) => i).filter((i) => named.has(i) || (i + 1) % step !== 0);
}
