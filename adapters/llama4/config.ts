// Config of Llama 4: HF's Llama4Config, or its text config alone.
//   huggingface/transformers@v5.23.0:src/transformers/models/llama4/configuration_llama4.py
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { checkHeads, parseHfDtype } from "../common/heads.ts";
import { parseHfRope } from "../common/rope-config.ts";

/** Sizes in elements, lengths in tokens. */
export interface Llama4Config {
  /** Whether the text model is part of a vision-language model: HF then puts it under `language_model.`. */
  readonly sees: boolean;
  readonly nLayers: number;
  /** Layers with experts, ascending. */
  readonly moeLayers: readonly number[];
  readonly vocabSize: number;
  readonly dim: number;
  /** Width of a dense layer's MLP: HF's `intermediate_size_mlp`. */
  readonly ffnDim: number;
  /** Width of one expert and of the shared one: HF's `intermediate_size`. */
  readonly expertDim: number;
  readonly nExperts: number;
  /** Experts per token. */
  readonly topK: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly normEps: number;
  /** The output head is the embedding. */
  readonly tied: boolean;
  readonly rope: RopeSpec;
  /** Layers whose queries and keys are rotated, ascending. */
  readonly ropeLayers: readonly number[];
  /** Layers that see no further back than the start of their position's chunk, ascending. */
  readonly chunkedLayers: readonly number[];
  readonly chunkSize: number;
  /** Queries and keys of rotated layers are made to have a mean square of 1. */
  readonly qkNorm: boolean;
  /** Scale of queries in layers without RoPE: 1 + scale · log1p(⌊(position + 1) / floor⌋); null for none. */
  readonly temperature: { readonly floor: number; readonly scale: number } | null;
  /** Biases of q, k, v and o. */
  readonly attentionBias: boolean;
  readonly maxPositions: number;
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

const DEFAULT_THETA = 500_000;

/** Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseLlama4Config(json: JsonObject, where: string): Llama4Config {
  const config = new ConfigReader(json, where);
  if (json.model_type === undefined) config.fail("model_type", `"llama4" or "llama4_text"`);
  if (json.model_type === "llama4_text") return checkHeads(parseText(config, false, null), where);
  config.only("model_type", "llama4", "is another family");
  const text = config.objectOrEmpty("text_config");
  return checkHeads(parseText(text, true, parseHfDtype(config)), where);
}

/**
 * Absent fields are those of Llama4TextConfig. The text config's `tie_word_embeddings` counts, within a vision-language
 * model too: the head belongs to the text model.
 */
function parseText(text: ConfigReader, sees: boolean, dtype: string | null): Llama4Config {
  text.onlyActivation("hidden_act", "silu");
  const nLayers = text.layers("num_hidden_layers", 48);
  const nHeads = text.size("num_attention_heads", 40);
  const dim = text.size("hidden_size", 5120);
  const headDim = text.isNull("head_dim") ? Math.floor(dim / nHeads) : text.size("head_dim", 128);
  const maxPositions = text.size("max_position_embeddings", 131_072);
  const ropeLayers = parseRopeLayers(text, nLayers);
  const tuned = text.boolean("attn_temperature_tuning", true) && ropeLayers.length < nLayers;
  return {
    sees,
    nLayers,
    moeLayers: parseMoeLayers(text, nLayers),
    vocabSize: text.size("vocab_size", 202_048),
    dim,
    ffnDim: text.size("intermediate_size_mlp", 16_384),
    expertDim: text.size("intermediate_size", 8192),
    nExperts: text.size("num_local_experts", 16),
    topK: text.size("num_experts_per_tok", 1),
    nHeads,
    nKvHeads: text.isNull("num_key_value_heads") ? nHeads : text.size("num_key_value_heads", 8),
    headDim,
    normEps: text.number("rms_norm_eps", 1e-5),
    tied: text.boolean("tie_word_embeddings", false),
    rope: parseHfRope(text, headDim, maxPositions, DEFAULT_THETA),
    ropeLayers,
    chunkedLayers: parseChunkedLayers(text, nLayers, ropeLayers),
    chunkSize: text.size("attention_chunk_size", 8192),
    qkNorm: text.boolean("use_qk_norm", true) && ropeLayers.length > 0,
    temperature: tuned ? { floor: text.size("floor_scale", 8192), scale: text.number("attn_scale", 0.1) } : null,
    attentionBias: text.boolean("attention_bias", false),
    maxPositions,
    dtype: dtype ?? parseHfDtype(text),
  };
}

/** `moe_layers`; without it every `interleave_moe_layer_step`-th. */
function parseMoeLayers(text: ConfigReader, nLayers: number): number[] {
  const step = text.size("interleave_moe_layer_step", 1);
  if (!text.has("moe_layers")) return layers(nLayers).filter((i) => (i + 1) % step === 0);
  const named = text.list("moe_layers");
  if (!named.every((layer) => Number.isSafeInteger(layer))) text.fail("moe_layers", "a list of layer indices");
  const chosen = new Set(named);
  return layers(nLayers).filter((i) => chosen.has(i));
}

/** Those that `no_rope_layers` has a 1 for; without it, or where it is empty, all but every `no_rope_layer_interval`-th. */
function parseRopeLayers(text: ConfigReader, nLayers: number): number[] {
  const interval = text.size("no_rope_layer_interval", 4);
  const flags = text.has("no_rope_layers") ? text.list("no_rope_layers") : [];
  if (flags.length === 0) return layers(nLayers).filter((i) => (i + 1) % interval !== 0);
  if (flags.length < nLayers || !flags.every((flag) => flag === 0 || flag === 1))
    text.fail("no_rope_layers", `a 1 (RoPE) or 0 (none) for each of the ${nLayers} layers`);
  return layers(nLayers).filter((i) => flags[i] === 1);
}

/** Those of `layer_types`; without it the layers with RoPE. */
function parseChunkedLayers(text: ConfigReader, nLayers: number, ropeLayers: readonly number[]): readonly number[] {
  if (!text.has("layer_types")) return ropeLayers;
  const types = text.list("layer_types");
  if (types.length !== nLayers || !types.every((type) => type === CHUNKED || type === FULL))
    text.fail("layer_types", `"${CHUNKED}" or "${FULL}" for each of the ${nLayers} layers`);
  return layers(nLayers).filter((i) => types[i] === CHUNKED);
}

export const CHUNKED = "chunked_attention";
export const FULL = "full_attention";

export const layers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
