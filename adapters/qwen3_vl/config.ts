// Config of Qwen3-VL, dense and with experts: HF's Qwen3VLConfig and Qwen3VLMoeConfig.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_vl/configuration_qwen3_vl.py
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_vl_moe/configuration_qwen3_vl_moe.py
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { checkHeads, parseHfDtype } from "../common/heads.ts";
import {
  parseMropeSection,
  parseQwenVision,
  parseVisionTokens,
  type QwenVision,
  type VisionTokens,
} from "../common/qwen-vision-config.ts";
import { hfRopeObject, parseHfRope } from "../common/rope-config.ts";

export type Qwen3VlFamily = "qwen3_vl" | "qwen3_vl_moe";

/** Sizes in elements, lengths in tokens. */
export interface Qwen3VlConfig {
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
  /** Frequencies that turn with time, row and column, interleaved: t h w t h w … */
  readonly mropeSection: readonly number[];
  /** Biases of q, k, v and o. */
  readonly attentionBias: boolean;
  readonly maxPositions: number;
  /** Null where all layers are dense. */
  readonly moe: Qwen3VlExperts | null;
  readonly vision: Qwen3VlVision;
  readonly tokens: VisionTokens;
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

export interface Qwen3VlExperts {
  readonly nExperts: number;
  readonly expertDim: number;
  /** Experts per token; their weights are normalised to sum to 1. */
  readonly topK: number;
  /** Layers without experts. */
  readonly denseLayers: readonly number[];
}

export interface Qwen3VlVision extends QwenVision {
  /** Blocks whose output is also added to the text, each through a merger of its own. */
  readonly deepstackBlocks: readonly number[];
}

/** What the two classes of text config default to. */
const TEXT_DEFAULTS = {
  qwen3_vl: { dim: 4096, ffnDim: 22_016, nLayers: 32, nHeads: 32, nKvHeads: 32 },
  qwen3_vl_moe: { dim: 2048, ffnDim: 5632, nLayers: 24, nHeads: 16, nKvHeads: 16 },
};
const DEFAULT_THETA = 500_000;
const DEFAULT_SECTION = [24, 20, 20];
const DEFAULT_TOKENS = { image: 151_655, video: 151_656, visionStart: 151_652, visionEnd: 151_653 };
const DEFAULT_DEEPSTACK = [8, 16, 24];

/**
 * Absent fields are those of the HF class. Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field.
 * `tie_word_embeddings` counts at the top, as in every release of transformers; that of `text_config` is not read.
 */
export function parseQwen3VlConfig(family: Qwen3VlFamily, json: JsonObject, where: string): Qwen3VlConfig {
  const config = new ConfigReader(json, where);
  if (json.model_type === undefined) config.fail("model_type", `"${family}" (give the model's HF config)`);
  config.only("model_type", family, "is another family");
  const text = config.objectOrEmpty("text_config");
  text.onlyActivation("hidden_act", "silu");
  const defaults = TEXT_DEFAULTS[family];
  const dim = text.size("hidden_size", defaults.dim);
  const nLayers = text.layers("num_hidden_layers", defaults.nLayers);
  const nHeads = text.size("num_attention_heads", defaults.nHeads);
  const headDim = parseHeadDim(family, text, dim, nHeads);
  const maxPositions = text.size("max_position_embeddings", 128_000);
  const sizes = {
    nLayers,
    vocabSize: text.size("vocab_size", 151_936),
    dim,
    ffnDim: text.size("intermediate_size", defaults.ffnDim),
    nHeads,
    nKvHeads: text.isNull("num_key_value_heads") ? nHeads : text.size("num_key_value_heads", defaults.nKvHeads),
    headDim,
    normEps: text.number("rms_norm_eps", 1e-6),
    tied: config.boolean("tie_word_embeddings", false),
    rope: parseHfRope(text, headDim, maxPositions, DEFAULT_THETA),
    mropeSection: parseMropeSection(hfRopeObject(text), DEFAULT_SECTION),
    attentionBias: text.boolean("attention_bias", false),
    maxPositions,
    moe: family === "qwen3_vl_moe" ? parseExperts(text, nLayers) : null,
    vision: parseVision(config.objectOrEmpty("vision_config")),
    tokens: parseVisionTokens(config, DEFAULT_TOKENS),
    dtype: parseHfDtype(config) ?? parseHfDtype(text),
  };
  return checkHeads(sizes, where);
}

/** 128 in the dense class; in the other what the heads leave of the model's width. */
function parseHeadDim(family: Qwen3VlFamily, text: ConfigReader, dim: number, nHeads: number): number {
  if (family === "qwen3_vl") return text.size("head_dim", 128);
  const headDim = text.optional("head_dim", text.size) ?? dim / nHeads;
  return Number.isInteger(headDim)
    ? headDim
    : text.fail("hidden_size", `a multiple of num_attention_heads (${nHeads})`);
}

/** Layers without experts are those of `mlp_only_layers`, and all but every `decoder_sparse_step`-th. */
function parseExperts(text: ConfigReader, nLayers: number): Qwen3VlExperts {
  const step = text.size("decoder_sparse_step", 1);
  const named = new Set(text.counts("mlp_only_layers", []));
  return {
    nExperts: text.size(text.has("num_local_experts") ? "num_local_experts" : "num_experts", 60),
    expertDim: text.size("moe_intermediate_size", 1408),
    topK: text.size("num_experts_per_tok", 4),
    denseLayers: range(nLayers).filter((layer) => named.has(layer) || (layer + 1) % step !== 0),
  };
}

const parseVision = (vision: ConfigReader): Qwen3VlVision => ({
  ...parseQwenVision(vision),
  deepstackBlocks: vision.counts("deepstack_visual_indexes", DEFAULT_DEEPSTACK),
});

export const range = (size: number): number[] => Array.from({ length: size }, (_, i) => i);
