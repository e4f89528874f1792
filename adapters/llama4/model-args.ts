// torchtitan 0.2's model args of Llama 4, read as a config; and config.json written from a config.
//   pytorch/torchtitan@v0.2.2:torchtitan/models/llama4/model/{args,model}.py
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { ConfigReader } from "../common/config-reader.ts";
import { checkHeads } from "../common/heads.ts";
import { type MoeArgs, parseMoeArgs } from "../common/moe-args.ts";
import { hfRopeParameters } from "../common/rope-config.ts";
import { modelArgs } from "../trainers/torchtitan-config.ts";
import type { Llama4Config } from "./config.ts";

/** TransformerModelArgs. Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseLlama4Args(json: JsonObject, where: string): Llama4Config {
  const args = modelArgs(json, where, "llama4");
  const moe = parseExperts(args);
  const dim = args.size("dim", 4096);
  const nHeads = args.size("n_heads", 32);
  if (dim % nHeads !== 0) args.fail("dim", `a multiple of n_heads (${nHeads})`);
  const indices = Array.from({ length: args.layers("n_layers", 32) }, (_, i) => i);
  const step = args.size("interleave_moe_layer_step", 2);
  const every = args.optional("every_n_layers_nope", args.size);
  if (every === 1) args.fail("every_n_layers_nope", "2 or more");
  const ropeLayers = indices.filter((i) => every === null || i % every !== 0);
  const config: Llama4Config = {
    sees: false,
    nLayers: indices.length,
    moeLayers: indices.filter((i) => (i + 1) % step === 0),
    vocabSize: args.size("vocab_size", 202_048),
    dim,
    ffnDim: ffnDim(args, dim, 1),
    expertDim: ffnDim(args, dim, args.boolean("auto_scale_hidden_dim", true) ? moe.topK + moe.nSharedExperts : 1),
    nExperts: moe.nExperts,
    topK: moe.topK,
    nHeads,
    nKvHeads: args.optional("n_kv_heads", args.size) ?? nHeads,
    headDim: dim / nHeads,
    normEps: args.number("norm_eps", 1e-5),
    tied: false,
    rope: parseRope(args, dim / nHeads),
    ropeLayers,
    chunkedLayers: every === null ? [] : ropeLayers,
    chunkSize: args.size("fixed_attn_block_size", 8192),
    qkNorm: false,
    temperature: null,
    attentionBias: false,
    maxPositions: args.size("max_seq_len", 1_048_576),
    dtype: null,
  };
  return checkHeads(config, where);
}

/** The router's score scales the experts' inputs. Each token also goes to one shared expert. */
function parseExperts(args: ConfigReader): MoeArgs {
  const read = parseMoeArgs(args, "sigmoid", false, true);
  const moe = args.object("moe_args");
  const other = "has no place on the Hugging Face side";
  if (read.nSharedExperts !== 1) moe.unsupported("num_shared_experts", "1", other);
  if (read.normalise) moe.unsupported("route_norm", "false", other);
  if (read.routeScale !== 1) moe.unsupported("route_scale", "1", other);
  if (read.nGroups > 1) moe.unsupported("num_expert_groups", "null", other);
  return read;
}

/** ⌊⌊8·dim/3⌋ · multiplier⌋, shared out among the experts that a token uses, rounded up. */
function ffnDim(args: ConfigReader, dim: number, used: number): number {
  const multiplier = args.optional("ffn_dim_multiplier", args.number) ?? 1;
  const multiple = args.size("multiple_of", 256);
  const scaled = Math.floor(Math.floor(multiplier * Math.floor((8 * dim) / 3)) / used);
  return Math.ceil(scaled / multiple) * multiple;
}

/** RoPEScalingArgs of this family has defaults of its own. */
function parseRope(args: ConfigReader, dims: number): RopeSpec {
  const base = { theta: args.number("rope_theta", 10_000), dims };
  if (!args.has("rope_scaling_args")) return { kind: "default", ...base };
  const scaling = args.object("rope_scaling_args");
  return {
    kind: "llama3",
    ...base,
    factor: scaling.number("scaling_factor", 16),
    lowFreqFactor: scaling.number("low_freq_factor", 1),
    highFreqFactor: scaling.number("high_freq_factor", 1),
    originalMaxPositions: scaling.size("original_max_position_embeddings", 8192),
  };
}

/** config.json of the text model, in v5 spelling. */
export const llama4HfConfig = (config: Llama4Config): JsonObject => ({
  architectures: ["Llama4ForCausalLM"],
  model_type: "llama4_text",
  vocab_size: config.vocabSize,
  hidden_size: config.dim,
  intermediate_size: config.expertDim,
  intermediate_size_mlp: config.ffnDim,
  num_hidden_layers: config.nLayers,
  num_attention_heads: config.nHeads,
  num_key_value_heads: config.nKvHeads,
  head_dim: config.headDim,
  num_local_experts: config.nExperts,
  num_experts_per_tok: config.topK,
  moe_layers: config.moeLayers,
  no_rope_layers: flags(config.nLayers, config.ropeLayers),
  layer_types: flags(config.nLayers, config.chunkedLayers).map((flag) =>
    flag === 1 ? "chunked_attention" : "full_attention",
  ),
  attention_chunk_size: config.chunkSize,
  use_qk_norm: config.qkNorm,
  attn_temperature_tuning: config.temperature !== null,
  hidden_act: "silu",
  max_position_embeddings: config.maxPositions,
  rms_norm_eps: config.normEps,
  rope_parameters: hfRopeParameters(config.rope),
  tie_word_embeddings: config.tied,
  attention_bias: config.attentionBias,
  ...(config.dtype === null ? {} : { dtype: config.dtype }),
});

/** 1 for each index that is among the chosen, 0 for the others. */
const flags = (count: number, chosen: readonly number[]): number[] =>
  Array.from({ length: count }, (_, i) => (chosen.includes(i) ? 1 : 0));
