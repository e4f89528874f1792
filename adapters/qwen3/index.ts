import { transformersFrequencies } from "../../numerics/rope.ts";
import type { Adapter, Family, JsonObject } from "../../src/family/adapter.ts";
import { noGraph } from "../common/no-graph.ts";
import { VLLM } from "../trainers/vllm.ts";
import { parseQwen3Config, type Qwen3Config, qwen3HfConfig } from "./config.ts";
import { hfForward } from "./hf.ts";
import { QWEN3_LAYOUTS, qwen3Axes, qwen3Rules } from "./mapping.ts";
import { nativeDifferences, nativeForward } from "./native.ts";

export const qwen3: Adapter = {
  family: "qwen3",
  modelTypes: ["qwen3"],
  flavours: ["dense", "tied", "grouped-query", "biased", "yarn", "sliding-window"],
  modalities: ["text"],
  layouts: QWEN3_LAYOUTS,
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/qwen3/state_dict_adapter.py",
    "https://github.com/pytorch/torchtitan/blob/v0.2.2/torchtitan/models/qwen3/model/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/qwen3/modeling_qwen3.py",
  ],
  graphs: ["native", "hf"],
  probes: [
    { model_type: "qwen3", attention_bias: true },
    { model_type: "qwen3", tie_word_embeddings: true },
    { model_type: "qwen3" },
  ],
  open: (json, where) => openFamily(parseQwen3Config(json, where), json),
};

const openFamily = (config: Qwen3Config, json: JsonObject): Family => ({
  family: "qwen3",
  vocabSize: config.vocabSize,
  maxPositions: config.maxPositions,
  dtype: config.dtype,
  axes: () => qwen3Axes(config),
  rules: (layout) => qwen3Rules(config, layout),
  hfConfig: () => (json.model_type === undefined ? qwen3HfConfig(config) : json),
  math: () => mathOf(config),
  forward(layout) {
    if (layout === VLLM) return noGraph("qwen3", layout);
    return layout === "hf" ? hfForward(config) : nativeForward(config, layout);
  },
  knownDifferences: (layout) => (layout === "hf" || layout === VLLM ? [] : nativeDifferences(config, layout)),
});

function mathOf(config: Qwen3Config) {
  const { rope, windows, dtype: _, ...sizes } = config;
  const { invFreq, attentionFactor } = transformersFrequencies(rope);
  return {
    ...sizes,
    activation: "silu",
    /** 0 for a layer without one. */
    windows: windows.map((size) => size ?? 0),
    attentionScale: config.headDim ** -0.5,
    invFreq: [...invFreq],
    ropeAttentionFactor: attentionFactor,
  };
}
