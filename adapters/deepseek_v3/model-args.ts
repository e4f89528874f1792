// torchtitan 0.2's model args of DeepSeek-V3, read as a config; and config.json written from a config.
//   pytorch/torchtitan@v0.2.2:torchtitan/models/deepseek_v3/model/{args,model}.py
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { ConfigReader } from "../common/config-reader.ts";
import { parseMoeArgs } from "../common/moe-args.ts";
import { hfRopeParameters } from "../common/rope-config.ts";
import { modelArgs } from "../trainers/torchtitan-config.ts";
import type { DeepseekV3Config } from "./config.ts";

/** DeepSeekV3ModelArgs. Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseDeepseekV3Args(json: JsonObject, where: string): DeepseekV3Config {
  const args = modelArgs(json, where, "deepseek_v3");
  const moe = parseMoeArgs(args, "sigmoid", false);
  const ropeDim = args.size("qk_rope_head_dim", 64);
  if (ropeDim % 2 !== 0) args.fail("qk_rope_head_dim", "even, as channels are rotated in pairs");
  if (moe.nSharedExperts === 0)
    args.object("moe_args").unsupported("num_shared_experts", "1 or more", "has no place on the Hugging Face side");
  return {
    nLayers: args.layers("n_layers", 27),
    nDenseLayers: args.count("n_dense_layers", 1),
    nMtpLayers: 0,
    announcesMtp: false,
    vocabSize: args.size("vocab_size", 102_400),
    dim: args.size("dim", 2048),
    ffnDim: args.size("inter_dim", 10_944),
    nHeads: args.size("n_heads", 16),
    qLoraRank: args.count("q_lora_rank", 0) || null,
    kvLoraRank: args.size("kv_lora_rank", 512),
    nopeDim: args.size("qk_nope_head_dim", 128),
    ropeDim,
    valueDim: args.size("v_head_dim", 128),
    nExperts: moe.nExperts,
    expertDim: args.size("moe_inter_dim", 1408),
    nSharedExperts: moe.nSharedExperts,
    expertsPerToken: moe.topK,
    nGroups: moe.nGroups,
    groupsPerToken: moe.groupsPerToken,
    normaliseWeights: moe.normalise,
    routeScale: moe.routeScale,
    normEps: args.number("norm_eps", 1e-5),
    tied: false,
    rope: parseRope(args, ropeDim),
    maxPositions: args.size("max_seq_len", 16_384),
    dtype: null,
  };
}

/** YaRN applies only to sequences longer than the original length. It scales attention logits, not cos and sin. */
function parseRope(args: ConfigReader, dims: number): RopeSpec {
  const base = { theta: args.number("rope_theta", 10_000), dims };
  const originalMaxPositions = args.size("original_seq_len", 4096);
  const factor = args.number("rope_factor", 40);
  if (args.size("max_seq_len", 16_384) <= originalMaxPositions) return { kind: "default", ...base };
  const mscale = args.number("mscale", 1);
  return {
    kind: "yarn",
    ...base,
    factor,
    originalMaxPositions,
    betaFast: args.number("beta_fast", 32),
    betaSlow: args.number("beta_slow", 1),
    truncate: true,
    mscale,
    mscaleAllDim: mscale,
  };
}

/** config.json in v5 spelling. */
export const deepseekV3HfConfig = (config: DeepseekV3Config): JsonObject => ({
  architectures: ["DeepseekV3ForCausalLM"],
  model_type: "deepseek_v3",
  vocab_size: config.vocabSize,
  hidden_size: config.dim,
  intermediate_size: config.ffnDim,
  moe_intermediate_size: config.expertDim,
  num_hidden_layers: config.nLayers,
  num_nextn_predict_layers: config.nMtpLayers,
  num_attention_heads: config.nHeads,
  num_key_value_heads: config.nHeads,
  n_routed_experts: config.nExperts,
  n_shared_experts: config.nSharedExperts,
  num_experts_per_tok: config.expertsPerToken,
  n_group: config.nGroups,
  topk_group: config.groupsPerToken,
  norm_topk_prob: config.normaliseWeights,
  routed_scaling_factor: config.routeScale,
  first_k_dense_replace: config.nDenseLayers,
  q_lora_rank: config.qLoraRank,
  kv_lora_rank: config.kvLoraRank,
  qk_nope_head_dim: config.nopeDim,
  qk_rope_head_dim: config.ropeDim,
  v_head_dim: config.valueDim,
  hidden_act: "silu",
  max_position_embeddings: config.maxPositions,
  rms_norm_eps: config.normEps,
  rope_parameters: hfRopeParameters(config.rope),
  rope_interleave: true,
  tie_word_embeddings: config.tied,
  attention_bias: false,
  ...(config.dtype === null ? {} : { dtype: config.dtype }),
});
