// Config of gpt-oss: HF's GptOssConfig.
//   huggingface/transformers@v5.23.0:src/transformers/models/gpt_oss/configuration_gpt_oss.py
import type { RopeSpec } from "../../numerics/rope.ts";
import type { JsonObject } from "../adapter.ts";
import { ConfigReader } from "../config-reader.ts";
import { checkHeads, parseHfDtype } from "../heads.ts";
import { parseHfRope } from "../rope-config.ts";

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
  /** One entry a layer: tokens that a position sees, itself included; null for all before it. */
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

/** Defaults are those of GptOssConfig. Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseGptOssConfig(json: JsonObject, where: string): GptOssConfig {
  const config = new ConfigReader(json, where);
  if (json.model_type === undefined) config.fail("model_type", `"gpt_oss" (give the model's HF config)`);
  config.only("model_type", "gpt_oss", "is another family");
  config.only("hidden_act", "silu", "has no graph here");
  config.only("attention_bias", true, "leaves the biases of the native side without a place");
  const nLayers = config.size("num_hidden_layers", 36);
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

/** The class has a theta and a scaling of its own for configs that are silent. */
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
