// Config of the DeepSeek-V3 decoder, which is also Kimi's text model, and what follows from it.
//   huggingface/transformers@v5.23.0:src/transformers/models/deepseek_v3/configuration_deepseek_v3.py
import { type RopeSpec, transformersFrequencies } from "../../numerics/rope.ts";
import type { ConfigReader } from "./config-reader.ts";
import { parseHfDtype } from "./heads.ts";
import { parseHfRope } from "./rope-config.ts";

/** Sizes in elements, lengths in tokens. */
export interface DeepseekV3Config {
  readonly nLayers: number;
  /** The first layers have a dense MLP, the others experts. */
  readonly nDenseLayers: number;
  /** Multi-token prediction layers. The Hub numbers them after the last layer. */
  readonly nMtpLayers: number;
  /** Whether the config says how many. transformers assumes one where it does not. */
  readonly announcesMtp: boolean;
  readonly vocabSize: number;
  readonly dim: number;
  readonly ffnDim: number;
  readonly nHeads: number;
  /** Null where the query has no latent. */
  readonly qLoraRank: number | null;
  readonly kvLoraRank: number;
  /** Channels per head: of queries and keys without RoPE, of queries and keys with RoPE, of values. */
  readonly nopeDim: number;
  readonly ropeDim: number;
  readonly valueDim: number;
  readonly nExperts: number;
  readonly expertDim: number;
  readonly nSharedExperts: number;
  readonly expertsPerToken: number;
  readonly nGroups: number;
  readonly groupsPerToken: number;
  /** Weights of the chosen experts are divided by their sum. */
  readonly normaliseWeights: boolean;
  readonly routeScale: number;
  readonly normEps: number;
  /** The output head is the embedding. */
  readonly tied: boolean;
  readonly rope: RopeSpec;
  readonly maxPositions: number;
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

/** Defaults are those of DeepseekV3Config. Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function readDeepseekV3(config: ConfigReader): DeepseekV3Config {
  config.onlyActivation("hidden_act", "silu");
  config.only("attention_bias", false, "has no place on the native side");
  config.only("rope_interleave", true, "orders the rotated channels as the native side does not");
  const nHeads = config.size("num_attention_heads", 128);
  if (config.has("num_key_value_heads")) config.only("num_key_value_heads", nHeads, "shares keys between heads");
  const ropeDim = config.size("qk_rope_head_dim", 64);
  if (ropeDim % 2 !== 0) config.fail("qk_rope_head_dim", "even, as channels are rotated in pairs");
  const maxPositions = config.size("max_position_embeddings", 4096);
  return {
    nLayers: config.layers("num_hidden_layers", 61),
    nDenseLayers: config.isNull("first_k_dense_replace") ? 0 : config.count("first_k_dense_replace", 3),
    nMtpLayers: parseMtpLayers(config),
    announcesMtp: config.has("num_mtp_layers") || config.has("num_nextn_predict_layers"),
    vocabSize: config.size("vocab_size", 129_280),
    dim: config.size("hidden_size", 7168),
    ffnDim: config.size("intermediate_size", 18_432),
    nHeads,
    qLoraRank: config.isNull("q_lora_rank") ? null : config.size("q_lora_rank", 1536),
    kvLoraRank: config.size("kv_lora_rank", 512),
    nopeDim: config.size("qk_nope_head_dim", 128),
    ropeDim,
    valueDim: config.size("v_head_dim", 128),
    ...parseExperts(config),
    normEps: config.number("rms_norm_eps", 1e-6),
    tied: config.boolean("tie_word_embeddings", false),
    rope: parseHfRope(config, ropeDim, maxPositions),
    maxPositions,
    dtype: parseHfDtype(config),
  };
}

function parseExperts(config: ConfigReader) {
  const nExperts = config.size("n_routed_experts", 256);
  const nGroups = config.size("n_group", 8);
  if (nExperts % nGroups !== 0) config.fail("n_group", `a divisor of n_routed_experts (${nExperts})`);
  return {
    nExperts,
    expertDim: config.size("moe_intermediate_size", 2048),
    nSharedExperts: config.size("n_shared_experts", 1),
    expertsPerToken: config.size("num_experts_per_tok", 8),
    nGroups,
    groupsPerToken: config.size("topk_group", 4),
    normaliseWeights: config.boolean("norm_topk_prob", true),
    routeScale: config.number("routed_scaling_factor", 2.5),
  };
}

/** `num_nextn_predict_layers` as on the Hub; `num_mtp_layers` is DeepseekV3Config's own name, by default 1. */
const parseMtpLayers = (config: ConfigReader): number =>
  config.has("num_mtp_layers") ? config.count("num_mtp_layers") : config.count("num_nextn_predict_layers", 1);

export function deepseekV3Math(config: DeepseekV3Config) {
  const { rope, dtype: _, announcesMtp: __, qLoraRank, ...sizes } = config;
  const { invFreq, attentionFactor } = transformersFrequencies(rope);
  return {
    ...sizes,
    /** 0 where the query has no latent. */
    qLoraRank: qLoraRank ?? 0,
    activation: "silu",
    routerScore: "sigmoid",
    attentionScale: attentionScale(config),
    invFreq: [...invFreq],
    ropeAttentionFactor: attentionFactor,
  };
}

/** H^-½ · (0.1·mscale_all_dim·ln(factor) + 1)²: `yarn_apply_mscale` of modeling_deepseek_v3.py. */
function attentionScale({ nopeDim, ropeDim, rope }: DeepseekV3Config): number {
  const scale = (nopeDim + ropeDim) ** -0.5;
  if (rope.kind !== "yarn" || rope.mscaleAllDim === undefined || rope.factor <= 1) return scale;
  return scale * (0.1 * rope.mscaleAllDim * Math.log(rope.factor) + 1) ** 2;
}
