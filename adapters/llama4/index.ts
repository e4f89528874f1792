import { transformersFrequencies } from "../../numerics/rope.ts";
import type { Adapter, Family, JsonObject } from "../../src/family/adapter.ts";
import { type Llama4Config, parseLlama4Config } from "./config.ts";
import { hfForward } from "./hf.ts";
import { LLAMA4_LAYOUTS, llama4Axes, llama4Rules } from "./mapping.ts";
import { llama4HfConfig, parseLlama4Args } from "./model-args.ts";
import { nativeDifferences, nativeForward } from "./native.ts";

/** Every kind of key, once: layers differ in their numbers only. */
const TEXT = { num_hidden_layers: 2, interleave_moe_layer_step: 2 };
const ALL_MOE = { num_hidden_layers: 1 };

export const llama4: Adapter = {
  family: "llama4",
  modelTypes: ["llama4", "llama4_text"],
  flavours: [
    "moe",
    "dense layers between",
    "shared expert",
    "chunked attention",
    "NoPE layers",
    "grouped-query",
    "tied",
  ],
  modalities: ["text"],
  layouts: LLAMA4_LAYOUTS,
  sources: [
    "https://github.com/pytorch/torchtitan/blob/43e52fd017ce/torchtitan/models/llama4/state_dict_adapter.py",
    "https://github.com/pytorch/torchtitan/blob/v0.2.2/torchtitan/models/llama4/model/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/llama4/modeling_llama4.py",
  ],
  graphs: ["native", "hf"],
  probes: [TEXT, ALL_MOE].flatMap((text) =>
    [{}, { tie_word_embeddings: true }, { attention_bias: true }].map((fields) => ({
      model_type: "llama4",
      text_config: { ...text, ...fields },
    })),
  ),
  open(json, where) {
    const parse = json.model_type === undefined ? parseLlama4Args : parseLlama4Config;
    return openFamily(parse(json, where), json);
  },
};

const openFamily = (config: Llama4Config, json: JsonObject): Family => ({
  family: "llama4",
  vocabSize: config.vocabSize,
  maxPositions: config.maxPositions,
  dtype: config.dtype,
  axes: () => llama4Axes(config),
  rules: (layout) => llama4Rules(config, layout),
  hfConfig: () => (json.model_type === undefined ? llama4HfConfig(config) : json),
  math: () => mathOf(config),
  forward: (layout) => (layout === "hf" ? hfForward(config) : nativeForward(config, layout)),
  knownDifferences: (layout) => (layout === "hf" ? [] : nativeDifferences(config, layout)),
});

function mathOf(config: Llama4Config) {
  const { rope, dtype: _, sees: __, chunkedLayers, chunkSize, temperature, ...sizes } = config;
  const { invFreq, attentionFactor } = transformersFrequencies(rope);
  return {
    ...sizes,
    activation: "silu",
    routerScore: "sigmoid of the chosen logits, on the experts' input",
    chunkedLayers,
    /** 0 where no layer is chunked. */
    chunkSize: chunkedLayers.length > 0 ? chunkSize : 0,
    /** 0 for none. */
    temperatureFloor: temperature?.floor ?? 0,
    temperatureScale: temperature?.scale ?? 0,
    /** Of the norm of queries and keys after RoPE, which has no weights; 0 for none. */
    qkNormEps: config.qkNorm ? config.normEps : 0,
    attentionScale: config.headDim ** -0.5,
    invFreq: [...invFreq],
    ropeAttentionFactor: attentionFactor,
  };
}
