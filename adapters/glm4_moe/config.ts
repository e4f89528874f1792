// Config of GLM-4.5 to GLM-4.7: HF's Glm4MoeConfig.
//   huggingface/transformers@v5.23.0:src/transformers/models/glm4_moe/configuration_glm4_moe.py
import { type RopeSpec, transformersFrequencies } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { checkHeads, parseHfDtype } from "../common/heads.ts";
import { parseHfPartialRope } from "../common/rope-config.ts";

/** Sizes in elements, lengths in tokens. */
export interface Glm4MoeConfig {
  readonly nLayers: number;
  /** The first layers have a dense MLP, the others experts. */
  readonly nDenseLayers: number;
  /** Multi-token prediction layers. The Hub numbers them after the last layer. */
  readonly nMtpLayers: number;
  /** Whether the config says how many. transformers assumes one where it does not. */
  readonly announcesMtp: boolean;
  readonly vocabSize: number;
  readonly dim: number;
  /** Of a dense layer, and of one expert. */
  readonly ffnDim: number;
  readonly expertDim: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  /** Biases of q, k and v; o has none. */
  readonly attentionBias: boolean;
  /** Norms of query and key heads: GLM-4.5 has them, GLM-4.5-Air has not. */
  readonly qkNorm: boolean;
  readonly nExperts: number;
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
  /** Of the first channels of each head; the others are not rotated. */
  readonly rope: RopeSpec;
  readonly maxPositions: number;
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

/** Defaults are those of Glm4MoeConfig. Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseGlm4MoeConfig(json: JsonObject, where: string): Glm4MoeConfig {
  const config = new ConfigReader(json, where);
  config.only("model_type", "glm4_moe", "is another family");
  config.onlyActivation("hidden_act", "silu");
  const dim = config.size("hidden_size", 4096);
  const nHeads = config.size("num_attention_heads", 96);
  const headDim = config.optional("head_dim", config.size) ?? Math.floor(dim / nHeads);
  const maxPositions = config.size("max_position_embeddings", 131_072);
  return checkHeads(
    {
      nLayers: config.layers("num_hidden_layers", 46),
      nDenseLayers: config.count("first_k_dense_replace", 1),
      nMtpLayers: config.has("num_mtp_layers")
        ? config.count("num_mtp_layers")
        : config.count("num_nextn_predict_layers", 1),
      announcesMtp: config.has("num_mtp_layers") || config.has("num_nextn_predict_layers"),
      vocabSize: config.size("vocab_size", 151_552),
      dim,
      ffnDim: config.size("intermediate_size", 10_944),
      nHeads,
      nKvHeads: config.size("num_key_value_heads", 8),
      headDim,
      attentionBias: config.boolean("attention_bias", false),
      qkNorm: config.boolean("use_qk_norm", false),
      ...parseExperts(config),
      normEps: config.number("rms_norm_eps", 1e-5),
      tied: config.boolean("tie_word_embeddings", false),
      rope: parseHfPartialRope(config, headDim, maxPositions, 0.5),
      maxPositions,
      dtype: parseHfDtype(config),
    },
    where,
  );
}

function parseExperts(config: ConfigReader) {
  const nExperts = config.size(config.has("num_local_experts") ? "num_local_experts" : "n_routed_experts", 128);
  const nGroups = config.size("n_group", 1);
  if (nExperts % nGroups !== 0 || nExperts / nGroups < 2)
    config.fail("n_group", `a divisor of n_routed_experts (${nExperts}) that leaves two experts a group`);
  return {
    nExperts,
    expertDim: config.size("moe_intermediate_size", 1408),
    nSharedExperts: config.size("n_shared_experts", 1),
    expertsPerToken: config.size("num_experts_per_tok", 8),
    nGroups,
    groupsPerToken: config.size("topk_group", 1),
    normaliseWeights: config.boolean("norm_topk_prob", true),
    routeScale: config.number("routed_scaling_factor", 1),
  };
}

export function glm4MoeMath(config: Glm4MoeConfig) {
  const { rope, dtype: _, announcesMtp: __, ...sizes } = config;
  const { invFreq, attentionFactor } = transformersFrequencies(rope);
  return {
    ...sizes,
    activation: "silu",
    routerScore: "sigmoid",
    attentionScale: config.headDim ** -0.5,
    rotatedChannels: rope.dims,
    invFreq: [...invFreq],
    ropeAttentionFactor: attentionFactor,
  };
}
