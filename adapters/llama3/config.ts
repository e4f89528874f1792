// Config of Llama 2 and 3: HF's LlamaConfig, torchtitan's Llama3Model.Config and its older TransformerModelArgs.
//   huggingface/transformers@v5.23.0:src/transformers/models/llama/configuration_llama.py
//   pytorch/torchtitan@v0.2.2:torchtitan/models/llama3/model/{args,model}.py
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { checkHeads, parseHfDtype } from "../common/heads.ts";
import { hfRopeParameters, parseHfRope, parseTorchtitanScaling } from "../common/rope-config.ts";
import { isNestedConfig, parseTorchtitanDecoder, torchtitanModel } from "../trainers/torchtitan-config.ts";

/** Sizes in elements, lengths in tokens. */
export interface Llama3Config {
  readonly nLayers: number;
  readonly vocabSize: number;
  readonly dim: number;
  readonly ffnDim: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly normEps: number;
  /** The output head is the embedding. */
  readonly tied: boolean;
  readonly rope: RopeSpec;
  /** Biases of q, k, v and o. */
  readonly attentionBias: boolean;
  /** Biases of gate, up and down. */
  readonly mlpBias: boolean;
  readonly maxPositions: number;
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

/** Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseLlama3Config(json: JsonObject, where: string): Llama3Config {
  const parse = json.model_type !== undefined ? parseHf : parseTorchtitan;
  return checkHeads(parse(json, where), where);
}

/** Defaults are those of LlamaConfig. */
function parseHf(json: JsonObject, where: string): Llama3Config {
  const config = new ConfigReader(json, where);
  config.only("model_type", "llama", "is another family");
  config.onlyActivation("hidden_act", "silu");
  const dim = config.size("hidden_size", 4096);
  const nHeads = config.size("num_attention_heads", 32);
  const maxPositions = config.size("max_position_embeddings", 2048);
  const headDim = config.optional("head_dim", config.size) ?? dim / nHeads;
  if (!Number.isInteger(headDim)) config.fail("hidden_size", `a multiple of num_attention_heads (${nHeads})`);
  return {
    nLayers: config.layers("num_hidden_layers", 32),
    vocabSize: config.size("vocab_size", 32000),
    dim,
    ffnDim: config.size("intermediate_size", 11008),
    nHeads,
    nKvHeads: config.optional("num_key_value_heads", config.size) ?? nHeads,
    headDim,
    normEps: config.number("rms_norm_eps", 1e-6),
    tied: config.boolean("tie_word_embeddings", false),
    rope: parseHfRope(config, headDim, maxPositions),
    attentionBias: config.boolean("attention_bias", false),
    mlpBias: config.boolean("mlp_bias", false),
    maxPositions,
    dtype: parseHfDtype(config),
  };
}

function parseTorchtitan(json: JsonObject, where: string): Llama3Config {
  const model = torchtitanModel(json);
  if (!isNestedConfig(model)) return parseModelArgs(model, where);
  const { qkNorm, ...decoder } = parseTorchtitanDecoder(model, where);
  if (qkNorm) new ConfigReader(model, where).fail("layers", "without qk_norm, which is Qwen3's");
  return { ...decoder, dtype: null };
}

/** TransformerModelArgs. Its scaling of RoPE is always on unless it is null. */
function parseModelArgs(json: JsonObject, where: string): Llama3Config {
  const args = new ConfigReader(json, where);
  const dim = args.size("dim", 4096);
  const nHeads = args.size("n_heads", 32);
  const headDim = dim / nHeads;
  if (!Number.isInteger(headDim)) args.fail("dim", `a multiple of n_heads (${nHeads})`);
  const base = { theta: args.number("rope_theta", 10_000), dims: headDim };
  const scaling = args.objectOrEmpty("rope_scaling_args");
  return {
    nLayers: args.layers("n_layers", 32),
    vocabSize: args.size("vocab_size", 128_256),
    dim,
    ffnDim: ffnDim(dim, args.optional("ffn_dim_multiplier", args.number) ?? 1, args.size("multiple_of", 256)),
    nHeads,
    nKvHeads: args.optional("n_kv_heads", args.size) ?? nHeads,
    headDim,
    normEps: args.number("norm_eps", 1e-5),
    tied: args.boolean("enable_weight_tying", false),
    rope:
      json.rope_scaling_args === null
        ? { kind: "default", ...base }
        : { kind: "llama3", ...base, ...parseTorchtitanScaling(scaling) },
    attentionBias: false,
    mlpBias: false,
    maxPositions: args.size("max_seq_len", 131_072),
    dtype: null,
  };
}

/** ⅔ · 4D, times the multiplier, rounded up to a multiple. */
export const ffnDim = (dim: number, multiplier: number, multipleOf: number): number =>
  Math.ceil(Math.trunc(multiplier * Math.trunc((2 * 4 * dim) / 3)) / multipleOf) * multipleOf;

/** config.json in v5 spelling. */
export const llama3HfConfig = (config: Llama3Config): JsonObject => ({
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  vocab_size: config.vocabSize,
  hidden_size: config.dim,
  intermediate_size: config.ffnDim,
  num_hidden_layers: config.nLayers,
  num_attention_heads: config.nHeads,
  num_key_value_heads: config.nKvHeads,
  head_dim: config.headDim,
  hidden_act: "silu",
  max_position_embeddings: config.maxPositions,
  rms_norm_eps: config.normEps,
  rope_parameters: hfRopeParameters(config.rope),
  tie_word_embeddings: config.tied,
  attention_bias: config.attentionBias,
  mlp_bias: config.mlpBias,
  // Unknown here; the defaults of LlamaConfig are Llama 2's tokens.
  bos_token_id: null,
  eos_token_id: null,
  ...(config.dtype === null ? {} : { dtype: config.dtype }),
});
