// Config of a dense model that has no family of its own: HF's config.json, which torchtitan's transformers backend reads
// too.
//   pytorch/torchtitan@v0.3.0:torchtitan/experiments/transformers_modeling_backend/model.py, update_from_config
import { InputError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ConfigReader, isJsonObject } from "../common/config-reader.ts";
import { parseHfDtype } from "../common/heads.ts";
import { ARCHITECTURES } from "./architectures.ts";

export type { Activation, Decoder, Layer, Norm } from "./decoder.ts";
export { frequenciesOf } from "./rope.ts";

/** Sizes in elements, lengths in tokens. */
export interface HfDenseConfig {
  readonly modelType: string;
  readonly nLayers: number;
  readonly vocabSize: number;
  readonly dim: number;
  /** The output head is the embedding. */
  readonly tied: boolean;
  /** Infinity where the config names no limit. */
  readonly maxPositions: number;
  /** As HF spells it (`bfloat16`); null where the config is silent. */
  readonly dtype: string | null;
}

/** Fields that make a model a mixture of experts where their value is above 1. */
const EXPERT_FIELDS = ["num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"] as const;

/** Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field. */
export function parseHfDenseConfig(json: JsonObject, where: string): HfDenseConfig {
  const config = new ConfigReader(json, where);
  const modelType = config.string("model_type");
  const architecture = ARCHITECTURES.get(modelType);
  refuseOtherKinds(json, where);
  refuseBiases(config, architecture?.biased ?? false);
  return {
    modelType,
    nLayers: config.layers("num_hidden_layers"),
    vocabSize: config.size("vocab_size"),
    dim: config.size("hidden_size"),
    tied: config.boolean("tie_word_embeddings", architecture?.tied),
    maxPositions: config.optional("max_position_embeddings", config.size) ?? Number.POSITIVE_INFINITY,
    dtype: parseHfDtype(config),
  };
}

function refuseOtherKinds(json: JsonObject, where: string): void {
  const fail = (field: string, why: string) => {
    const found = JSON.stringify(json[field]).slice(0, 80);
    throw new InputError("CONFIG_UNSUPPORTED", `${where}: "${field}" is ${found}, which ${why}`, {
      file: where,
      expected: "a dense text model",
      found,
      help: "this needs a family of its own: load one with --adapter (docs/add-a-family.md), or change only the container with --to raw",
    });
  };
  // Doge's dense configs have these fields, too.
  for (const field of json.is_moe === false ? [] : EXPERT_FIELDS) {
    const value = json[field];
    if (typeof value === "number" && value > 1) fail(field, "makes this a mixture of experts");
  }
  if (json.is_moe === true) fail("is_moe", "makes this a mixture of experts");
  if (json.is_encoder_decoder === true) fail("is_encoder_decoder", "makes this no decoder");
  if (isJsonObject(json.text_config)) fail("text_config", "is one part of a model with several");
}

/** `attribute_map` of InternLM3Config: other names of `attention_bias` and `mlp_bias`. */
const BIAS_FIELDS = ["attention_bias", "mlp_bias"] as const;
const INTERNLM3_BIAS_FIELDS = ["qkv_bias", "bias"] as const;

/** The backend sets both to false, whatever the config says: its model has no place for the biases. */
function refuseBiases(config: ConfigReader, byDefault: boolean): void {
  const why = "torchtitan's transformers backend overrules: it builds the model without these biases";
  const others = config.string("model_type") === "internlm3" ? INTERNLM3_BIAS_FIELDS : [];
  for (const field of [...BIAS_FIELDS, ...others]) {
    config.only(field, false, why);
    if (byDefault && !config.has(field) && field === "attention_bias") config.unsupported(field, "false", why);
  }
}
