import { transformersFrequencies } from "../../numerics/rope.ts";
import type { Adapter, Family, JsonObject } from "../../src/family/adapter.ts";
import { MXFP4_EXPERTS } from "../common/encodable.ts";
import { type GptOssConfig, gptOssHfConfig, parseGptOssConfig } from "./config.ts";
import { hfForward } from "./hf.ts";
import { GPT_OSS_LAYOUTS, gptOssAxes, gptOssRules } from "./mapping.ts";
import { nativeDifferences, nativeForward } from "./native.ts";

export const gptOss: Adapter = {
  family: "gpt_oss",
  modelTypes: ["gpt_oss"],
  flavours: ["moe", "grouped-query", "biased", "sinks", "sliding-window", "yarn", "tied"],
  modalities: ["text"],
  encodings: ["mxfp4"],
  layouts: GPT_OSS_LAYOUTS,
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/gpt_oss/state_dict_adapter.py",
    "https://github.com/pytorch/torchtitan/blob/v0.2.2/torchtitan/models/gpt_oss/model/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/gpt_oss/modeling_gpt_oss.py",
  ],
  graphs: ["native", "hf"],
  probes: [
    { model_type: "gpt_oss", num_hidden_layers: 1 },
    { model_type: "gpt_oss", num_hidden_layers: 1, tie_word_embeddings: true },
  ],
  open: (json, where) => openFamily(parseGptOssConfig(json, where), json),
};

const openFamily = (config: GptOssConfig, json: JsonObject): Family => ({
  family: "gpt_oss",
  vocabSize: config.vocabSize,
  maxPositions: config.maxPositions,
  dtype: config.dtype,
  encodable: { mxfp4: MXFP4_EXPERTS },
  axes: () => gptOssAxes(config),
  rules: (layout) => gptOssRules(config, layout),
  hfConfig: () => (json.model_type === undefined ? gptOssHfConfig(config) : json),
  math: () => mathOf(config),
  forward: (layout) => (layout === "hf" ? hfForward(config) : nativeForward(config, layout)),
  knownDifferences: (layout) => (layout === "hf" ? [] : nativeDifferences(config, layout)),
});

function mathOf(config: GptOssConfig) {
  const { rope, windows, dtype: _, ...sizes } = config;
  const { invFreq, attentionFactor } = transformersFrequencies(rope);
  return {
    ...sizes,
    activation: "clamped swiglu",
    routerScore: "softmax of the chosen",
    /** 0 for a layer without one. */
    windows: windows.map((size) => size ?? 0),
    attentionScale: config.headDim ** -0.5,
    invFreq: [...invFreq],
    ropeAttentionFactor: attentionFactor,
  };
}
