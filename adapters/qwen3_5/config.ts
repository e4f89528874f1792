// Config of Qwen3.5 (and 3.6), dense and with experts, with its vision tower or text-only: HF's Qwen3_5Config,
// Qwen3_5MoeConfig and their text configs.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_5/configuration_qwen3_5.py
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_5_moe/configuration_qwen3_5_moe.py
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { type DeltaNet, parseDeltaNet, parseFullLayers } from "../common/gated-delta/config.ts";
import { checkHeads, parseHfDtype } from "../common/heads.ts";
import {
  parseMropeSection,
  parseQwenVision,
  parseVisionTokens,
  type QwenVision,
  type VisionTokens,
} from "../common/qwen-vision-config.ts";
import { hfRopeObject, parseHfPartialRope } from "../common/rope-config.ts";

export type Qwen35Family = "qwen3_5" | "qwen3_5_moe";

/** Sizes in elements, lengths in tokens. */
export interface Qwen35Config {
  readonly nLayers: number;
  /** Whether the config has a head that predicts a second token, which neither model has. */
  readonly announcesMtp: boolean;
  readonly vocabSize: number;
  readonly dim: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly normEps: number;
  /** The output head is the embedding. */
  readonly tied: boolean;
  /** RoPE of the first `rope.dims` channels of a head. */
  readonly rope: RopeSpec;
  /** Frequencies that turn with time, row and column, interleaved: t h w t h w … */
  readonly mropeSection: readonly number[];
  readonly maxPositions: number;
  /** Layers with attention over all tokens, ascending; the others are gated delta nets. */
  readonly fullLayers: readonly number[];
  readonly delta: DeltaNet;
  /** 0 where layers have experts. */
  readonly ffnDim: number;
  /** Null in a dense model. */
  readonly moe: Qwen35Experts | null;
  /** Null in a text-only model. */
  readonly vision: Qwen35Vision | null;
  /** Null in a text-only model. */
  readonly tokens: VisionTokens | null;
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

export interface Qwen35Experts {
  readonly nExperts: number;
  readonly expertDim: number;
  /** Of the expert that every token goes to, behind a gate. */
  readonly sharedDim: number;
  /** Experts per token; their weights are normalised to sum to 1. */
  readonly topK: number;
}

export type Qwen35Vision = QwenVision;

/** What the two classes of text config default to. */
const TEXT_DEFAULTS = {
  qwen3_5: { dim: 4096, nLayers: 32, nKvHeads: 4 },
  qwen3_5_moe: { dim: 2048, nLayers: 40, nKvHeads: 2 },
};
const PARTIAL_ROTARY_FACTOR = 0.25;
const DEFAULT_SECTION = [11, 11, 10];
const DEFAULT_TOKENS = { image: 248_056, video: 248_057, visionStart: 248_053, visionEnd: 248_054 };
const NOT_READ = "is not what transformers makes of this family";

/**
 * Absent fields are those of the HF class. Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. In a
 * multimodal config `tie_word_embeddings` counts at the top: transformers does not read that of `text_config`.
 */
export function parseQwen35Config(family: Qwen35Family, json: JsonObject, where: string): Qwen35Config {
  const config = new ConfigReader(json, where);
  if (json.model_type === undefined) config.fail("model_type", `"${family}" (give the model's HF config)`);
  if (json.model_type === `${family}_text`) return checkHeads({ ...parseText(family, config), ...TEXT_ALONE }, where);
  config.only("model_type", family, "is another family");
  const text = config.objectOrEmpty("text_config");
  text.only("model_type", `${family}_text`, "is the text of another family");
  return checkHeads(
    {
      ...parseText(family, text),
      tied: config.boolean("tie_word_embeddings", false),
      vision: parseVision(config.objectOrEmpty("vision_config")),
      tokens: parseVisionTokens(config, DEFAULT_TOKENS),
      dtype: parseHfDtype(config) ?? parseHfDtype(text),
    },
    where,
  );
}

const TEXT_ALONE = { vision: null, tokens: null };

function parseText(family: Qwen35Family, text: ConfigReader) {
  text.onlyActivation("hidden_act", "silu");
  text.only("attention_bias", false, "has no place on the native side");
  const defaults = TEXT_DEFAULTS[family];
  const nLayers = text.layers("num_hidden_layers", defaults.nLayers);
  const headDim = text.size("head_dim", 256);
  const maxPositions = text.size("max_position_embeddings", 32_768);
  const isMoe = family === "qwen3_5_moe";
  return {
    nLayers,
    vocabSize: text.size("vocab_size", 248_320),
    dim: text.size("hidden_size", defaults.dim),
    nHeads: text.size("num_attention_heads", 16),
    nKvHeads: text.size("num_key_value_heads", defaults.nKvHeads),
    headDim,
    normEps: text.number("rms_norm_eps", 1e-6),
    tied: text.boolean("tie_word_embeddings", false),
    rope: parseHfPartialRope(text, headDim, maxPositions, PARTIAL_ROTARY_FACTOR),
    mropeSection: parseSection(hfRopeObject(text)),
    maxPositions,
    fullLayers: parseFullLayers(text, nLayers),
    announcesMtp: text.has("mtp_num_hidden_layers") && text.count("mtp_num_hidden_layers") > 0,
    delta: parseDeltaNet(text),
    ffnDim: isMoe ? 0 : text.size("intermediate_size", 12_288),
    moe: isMoe ? parseExperts(text) : null,
    dtype: parseHfDtype(text),
  };
}

function parseSection(rope: ConfigReader): readonly number[] {
  rope.only("mrope_interleaved", true, NOT_READ);
  return parseMropeSection(rope, DEFAULT_SECTION);
}

/** Every layer has experts: `mlp_only_layers` and `decoder_sparse_step` are Qwen3's. */
function parseExperts(text: ConfigReader): Qwen35Experts {
  text.only("norm_topk_prob", true, NOT_READ);
  text.only("decoder_sparse_step", 1, NOT_READ);
  if (text.has("mlp_only_layers") && text.list("mlp_only_layers").length > 0)
    text.unsupported("mlp_only_layers", "[]", NOT_READ);
  const nExperts = text.size(text.has("num_local_experts") ? "num_local_experts" : "num_experts", 256);
  const topK = text.size("num_experts_per_tok", 8);
  if (topK > nExperts) text.fail("num_experts_per_tok", `at most the number of experts (${nExperts})`);
  return {
    nExperts,
    expertDim: text.size("moe_intermediate_size", 512),
    sharedDim: text.size("shared_expert_intermediate_size", 512),
    topK,
  };
}

function parseVision(vision: ConfigReader): Qwen35Vision {
  if (vision.counts("deepstack_visual_indexes", []).length > 0)
    vision.unsupported("deepstack_visual_indexes", "[]", NOT_READ);
  return parseQwenVision(vision);
}
