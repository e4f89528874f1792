// Config of Qwen3-Next: HF's Qwen3NextConfig.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_next/configuration_qwen3_next.py
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { type DeltaNet, parseDeltaNet, parseFullLayers, range } from "../common/gated-delta/config.ts";
import { checkHeads, parseHfDtype } from "../common/heads.ts";
import { parseHfPartialRope } from "../common/rope-config.ts";

/** Sizes in elements, lengths in tokens. */
export interface Qwen3NextConfig {
  readonly nLayers: number;
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
  readonly maxPositions: number;
  /** Layers with attention over all tokens, ascending; the others are gated delta nets. */
  readonly fullLayers: readonly number[];
  readonly delta: DeltaNet;
  /** Layers with one feed-forward in place of experts, ascending. */
  readonly denseLayers: readonly number[];
  /** Of a dense layer. */
  readonly ffnDim: number;
  readonly nExperts: number;
  /** Of one expert. */
  readonly expertDim: number;
  /** Of the expert that every token goes to, behind a gate. */
  readonly sharedDim: number;
  /** Experts per token. */
  readonly topK: number;
  /** Whether the weights of the chosen experts are normalised to sum to 1. */
  readonly normTopK: boolean;
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

const PARTIAL_ROTARY_FACTOR = 0.25;

/** Defaults are those of Qwen3NextConfig. Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseQwen3NextConfig(json: JsonObject, where: string): Qwen3NextConfig {
  const config = new ConfigReader(json, where);
  if (json.model_type === undefined) config.fail("model_type", '"qwen3_next" (give the model\'s HF config)');
  config.only("model_type", "qwen3_next", "is another family");
  config.onlyActivation("hidden_act", "silu");
  config.only("attention_bias", false, "has no place on the native side");
  const nLayers = config.layers("num_hidden_layers", 48);
  const headDim = config.size("head_dim", 256);
  const maxPositions = config.size("max_position_embeddings", 32_768);
  return checkHeads(
    {
      nLayers,
      vocabSize: config.size("vocab_size", 151_936),
      dim: config.size("hidden_size", 2048),
      nHeads: config.size("num_attention_heads", 16),
      nKvHeads: config.size("num_key_value_heads", 2),
      headDim,
      normEps: config.number("rms_norm_eps", 1e-6),
      tied: config.boolean("tie_word_embeddings", false),
      rope: parseHfPartialRope(config, headDim, maxPositions, PARTIAL_ROTARY_FACTOR),
      maxPositions,
      fullLayers: parseFullLayers(config, nLayers),
      delta: parseDeltaNet(config),
      denseLayers: parseDenseLayers(config, nLayers),
      ffnDim: config.size("intermediate_size", 5632),
      ...parseExperts(config),
      dtype: parseHfDtype(config),
    },
    where,
  );
}

function parseExperts(config: ConfigReader) {
  const nExperts = config.size(config.has("num_local_experts") ? "num_local_experts" : "num_experts", 512);
  const topK = config.size("num_experts_per_tok", 10);
  if (topK > nExperts) config.fail("num_experts_per_tok", `at most the number of experts (${nExperts})`);
  return {
    nExperts,
    expertDim: config.size("moe_intermediate_size", 512),
    sharedDim: config.size("shared_expert_intermediate_size", 512),
    topK,
    normTopK: config.boolean("norm_topk_prob", true),
  };
}

/** Those of `mlp_only_layers`, and all but every `decoder_sparse_step`-th. */
function parseDenseLayers(config: ConfigReader, nLayers: number): readonly number[] {
  const step = config.size("decoder_sparse_step", 1);
  const named = new Set(config.counts("mlp_only_layers", []));
  return range(nLayers).filter((layer) => named.has(layer) || (layer + 1) % step !== 0);
}
