// Config of gpt-oss: HF's GptOssConfig and the older GptOssModelArgs of torchtitan.
//   huggingface/transformers@v5.23.0:src/transformers/models/gpt_oss/configuration_gpt_oss.py
//   pytorch/torchtitan@v0.2.2:torchtitan/models/gpt_oss/model/args.py
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { checkHeads, parseHfDtype } from "../common/heads.ts";
import { parsePlainMoeArgs } from "../common/moe-args.ts";
import { hfRopeParameters, parseHfRope } from "../common/rope-config.ts";
import { modelArgs } from "../trainers/torchtitan-config.ts";

/** Sizes in elements, lengths in tokens. */
export interface GptOssConfig {
  readonly nLayers: number;
  readonly vocabSize: number;
  readonly dim: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly nExperts: number;
  readonly expertDim: number;
  readonly expertsPerToken: number;
  /** Experts compute gate·sigmoid(alpha·gate)·(up + 1), with gate and up clamped to the limit. */
  readonly swigluAlpha: number;
  readonly swigluLimit: number;
  readonly normEps: number;
  /** The output head is the embedding. */
  readonly tied: boolean;
  readonly rope: RopeSpec;
  readonly maxPositions: number;
  /** Per layer: how many tokens a position sees, itself included; null where it sees all before it. */
  readonly windows: readonly (number | null)[];
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

/** GptOssConfig's own RoPE, where the config has none. */
const DEFAULT_ROPE = {
  rope_type: "yarn",
  rope_theta: 150_000,
  factor: 32,
  beta_fast: 32,
  beta_slow: 1,
  truncate: false,
  original_max_position_embeddings: 4096,
};

/** Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseGptOssConfig(json: JsonObject, where: string): GptOssConfig {
  if (json.model_type !== undefined) return parseHf(json, where);
  return checkHeads(parseModelArgs(modelArgs(json, where, "gpt_oss")), where);
}

/** Defaults are those of GptOssConfig. */
function parseHf(json: JsonObject, where: string): GptOssConfig {
  const config = new ConfigReader(json, where);
  config.only("model_type", "gpt_oss", "is another family");
  config.onlyActivation("hidden_act", "silu");
  config.only("attention_bias", true, "leaves the biases of the native side without a place");
  const nLayers = config.layers("num_hidden_layers", 36);
  const nHeads = config.size("num_attention_heads", 64);
  const dim = config.size("hidden_size", 2880);
  const headDim = config.isNull("head_dim") ? dim / nHeads : config.size("head_dim", 64);
  if (!Number.isInteger(headDim)) config.fail("hidden_size", `a multiple of num_attention_heads (${nHeads})`);
  const maxPositions = config.size("max_position_embeddings", 131_072);
  return checkHeads(
    {
      nLayers,
      vocabSize: config.size("vocab_size", 201_088),
      dim,
      nHeads,
      nKvHeads: config.isNull("num_key_value_heads") ? nHeads : config.size("num_key_value_heads", 8),
      headDim,
      nExperts: config.has("num_experts") ? config.size("num_experts") : config.size("num_local_experts", 128),
      expertDim: config.size("intermediate_size", 2880),
      expertsPerToken: config.size("num_experts_per_tok", 4),
      swigluAlpha: config.number("swiglu_alpha", 1.702),
      swigluLimit: config.number("swiglu_limit", 7),
      normEps: config.number("rms_norm_eps", 1e-5),
      tied: config.boolean("tie_word_embeddings", false),
      rope: parseHfRope(new ConfigReader(withRope(json), where), headDim, maxPositions),
      maxPositions,
      windows: parseWindows(config, nLayers),
      dtype: parseHfDtype(config),
    },
    where,
  );
}

function parseModelArgs(args: ConfigReader): GptOssConfig {
  const { nExperts, topK, normalise } = parsePlainMoeArgs(args, true);
  if (!normalise) args.object("moe_args").unsupported("route_norm", "true", "weighs experts by more than those chosen");
  const nLayers = args.layers("n_layers", 24);
  const headDim = args.size("head_dim", 64);
  const window = args.size("sliding_window_size", 128);
  return {
    nLayers,
    vocabSize: args.size("vocab_size", 201_088),
    dim: args.size("dim", 2880),
    nHeads: args.size("n_heads", 64),
    nKvHeads: args.size("n_kv_heads", 8),
    headDim,
    nExperts,
    expertDim: args.size("moe_inter_dim", 2880),
    expertsPerToken: topK,
    swigluAlpha: 1.702,
    swigluLimit: args.number("swiglu_limit", 7),
    normEps: args.number("norm_eps", 1e-5),
    tied: false,
    rope: parseArgsRope(args, headDim),
    maxPositions: args.size("max_seq_len", 131_072),
    windows: Array.from({ length: nLayers }, (_, i) => (i % 2 === 0 ? window : null)),
    dtype: null,
  };
}

/** YaRN's bounds are not rounded, and cos and sin are scaled. */
function parseArgsRope(args: ConfigReader, headDim: number): RopeSpec {
  const base = { theta: args.number("rope_theta", 150_000), dims: headDim };
  const factor = args.number("rope_factor", 32);
  if (factor <= 1) return { kind: "default", ...base };
  return {
    kind: "yarn",
    ...base,
    factor,
    originalMaxPositions: args.size("original_seq_len", 4096),
    betaFast: args.number("ntk_beta", 32),
    betaSlow: args.number("ntk_alpha", 1),
    truncate: false,
  };
}

/** config.json in v5 spelling. */
export const gptOssHfConfig = (config: GptOssConfig): JsonObject => ({
  architectures: ["GptOssForCausalLM"],
  model_type: "gpt_oss",
  vocab_size: config.vocabSize,
  hidden_size: config.dim,
  intermediate_size: config.expertDim,
  num_hidden_layers: config.nLayers,
  num_attention_heads: config.nHeads,
  num_key_value_heads: config.nKvHeads,
  head_dim: config.headDim,
  num_local_experts: config.nExperts,
  num_experts_per_tok: config.expertsPerToken,
  swiglu_limit: config.swigluLimit,
  hidden_act: "silu",
  attention_bias: true,
  max_position_embeddings: config.maxPositions,
  rms_norm_eps: config.normEps,
  rope_parameters: hfRopeParameters(config.rope),
  tie_word_embeddings: config.tied,
  sliding_window: config.windows.find((size) => size !== null) ?? null,
  layer_types: config.windows.map((size) => (size === null ? "full_attention" : "sliding_attention")),
  ...(config.dtype === null ? {} : { dtype: config.dtype }),
});

/** GptOssConfig has its own default theta and scaling. */
function withRope(json: JsonObject): JsonObject {
  if (json.rope_parameters !== undefined && json.rope_parameters !== null) return json;
  const { rope_theta = DEFAULT_ROPE.rope_theta } = json;
  if (json.rope_scaling !== undefined && json.rope_scaling !== null) return { ...json, rope_theta };
  return { ...json, rope_parameters: { ...DEFAULT_ROPE, rope_theta } };
}

/** Even layers have the window where `layer_types` is absent. */
function parseWindows(config: ConfigReader, nLayers: number): (number | null)[] {
  const window = config.isNull("sliding_window") ? null : config.size("sliding_window", 128);
  if (!config.has("layer_types")) return Array.from({ length: nLayers }, (_, i) => (i % 2 === 0 ? window : null));
  const types = config.list("layer_types");
  if (types.length !== nLayers) config.fail("layer_types", `a list of ${nLayers} layers`);
  return types.map((type) => {
    if (type === "full_attention") return null;
    if (type !== "sliding_attention") config.fail("layer_types", "full_attention or sliding_attention throughout");
    return window;
  });
}
