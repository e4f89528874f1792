import { transformersFrequencies } from "../../numerics/rope.ts";
import type { Adapter, Family, JsonObject } from "../../src/family/adapter.ts";
import { noGraph } from "../common/no-graph.ts";
import { VLLM } from "../trainers/vllm.ts";
import { parseQwen3MoeConfig, type Qwen3MoeConfig, qwen3MoeHfConfig } from "./config.ts";
import { hfForward } from "./hf.ts";
import { QWEN3_MOE_LAYOUTS, qwen3MoeAxes, qwen3MoeRules } from "./mapping.ts";
import { nativeDifferences, nativeForward } from "./native.ts";

export const qwen3Moe: Adapter = {
  family: "qwen3_moe",
  modelTypes: ["qwen3_moe"],
  flavours: ["moe", "dense layers between", "tied", "grouped-query", "biased", "yarn", "sliding-window"],
  modalities: ["text"],
  layouts: QWEN3_MOE_LAYOUTS,
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/qwen3/state_dict_adapter.py",
    "https://github.com/pytorch/torchtitan/blob/v0.2.2/torchtitan/models/qwen3/model/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/qwen3_moe/modeling_qwen3_moe.py",
  ],
  graphs: ["native", "hf"],
  probes: [
    { model_type: "qwen3_moe", num_hidden_layers: 1, attention_bias: true },
    { model_type: "qwen3_moe", num_hidden_layers: 1, tie_word_embeddings: true },
    { model_type: "qwen3_moe", num_hidden_layers: 1 },
    { model_type: "qwen3_moe", num_hidden_layers: 2, mlp_only_layers: [0] },
  ],
  open: (json, where) => openFamily(parseQwen3MoeConfig(json, where), json),
};

const openFamily = (config: Qwen3MoeConfig, json: JsonObject): Family => ({
  family: "qwen3_moe",
  vocabSize: config.vocabSize,
  maxPositions: config.maxPositions,
  dtype: config.dtype,
  axes: () => qwen3MoeAxes(config),
  rules: (layout) => qwen3MoeRules(config, layout),
  hfConfig: () => (json.model_type === undefined ? qwen3MoeHfConfig(config) : json),
  math: () => mathOf(config),
  forward(layout) {
    if (layout === VLLM) return noGraph("qwen3_moe", layout);
    return layout === "hf" ? hfForward(config) : nativeForward(config, layout);
  },
  knownDifferences: (layout) => (layout === "hf" || layout === VLLM ? [] : nativeDifferences(config, layout)),
});

function mathOf(config: Qwen3MoeConfig) {
  const { rope, window, dtype: _, ...sizes } = config;
  const { invFreq, attentionFactor } = transformersFrequencies(rope);
  return {
    ...sizes,
    activation: "silu",
    routerScore: "softmax over all",
    /** 0 for none. */
    window: window ?? 0,
    attentionScale: config.headDim ** -0.5,
    invFreq: [...invFreq],
    ropeAttentionFactor: attentionFactor,
  };
}
