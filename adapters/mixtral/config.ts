// Config of Mixtral: HF's MixtralConfig, which torchtitan's transformers backend reads too.
//   huggingface/transformers@v5.23.0:src/transformers/models/mixtral/configuration_mixtral.py
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader } from "../common/config-reader.ts";
import { checkHeads, parseHfDtype } from "../common/heads.ts";
import { parseHfRope } from "../common/rope-config.ts";

/** Sizes in elements, lengths in tokens. */
export interface MixtralConfig {
  readonly nLayers: number;
  readonly vocabSize: number;
  readonly dim: number;
  /** Of one expert; every layer has experts. */
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
  readonly maxPositions: number;
  /** How many tokens a position sees, itself included; null where it sees all before it. */
  readonly window: number | null;
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

/** `default_theta` of MixtralConfig. */
const THETA = 1_000_000;

/** Defaults are those of MixtralConfig. Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseMixtralConfig(json: JsonObject, where: string): MixtralConfig {
  const config = new ConfigReader(json, where);
  config.only("model_type", "mixtral", "is another family");
  config.onlyActivation("hidden_act", "silu");
  const dim = config.size("hidden_size", 4096);
  const nHeads = config.size("num_attention_heads", 32);
  const headDim = config.optional("head_dim", config.size) ?? dim / nHeads;
  if (!Number.isInteger(headDim)) config.fail("hidden_size", `a multiple of num_attention_heads (${nHeads})`);
  const maxPositions = config.size("max_position_embeddings", 131_072);
  return checkHeads(
    {
      nLayers: config.layers("num_hidden_layers", 32),
      vocabSize: config.size("vocab_size", 32_000),
      dim,
      expertDim: config.size("intermediate_size", 14_336),
      nExperts: config.size(config.has("num_experts") ? "num_experts" : "num_local_experts", 8),
      topK: config.size("num_experts_per_tok", 2),
      nHeads,
      nKvHeads: json.num_key_value_heads === null ? nHeads : config.size("num_key_value_heads", 8),
      headDim,
      normEps: config.number("rms_norm_eps", 1e-5),
      tied: config.boolean("tie_word_embeddings", false),
      rope: parseHfRope(config, headDim, maxPositions, THETA),
      maxPositions,
      window: config.optional("sliding_window", config.size),
      dtype: parseHfDtype(config),
    },
    where,
  );
}
