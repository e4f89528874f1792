import { transformersFrequencies } from "../../numerics/rope.ts";
import type { Adapter, Family, JsonObject } from "../../src/family/adapter.ts";
import { noGraph } from "../common/no-graph.ts";
import { VLLM } from "../trainers/vllm.ts";
import { type Llama3Config, llama3HfConfig, parseLlama3Config } from "./config.ts";
import { hfForward } from "./hf.ts";
import { LLAMA3_LAYOUTS, llama3Axes, llama3Rules } from "./mapping.ts";
import { META } from "./meta.ts";
import { nativeDifferences, nativeForward } from "./native.ts";
import { isParams, PARAMS_NAME, paramsOf, parseParams } from "./params.ts";

export const llama3: Adapter = {
  family: "llama3",
  modelTypes: ["llama"],
  flavours: ["dense", "tied", "grouped-query", "biased", "rope-scaled"],
  modalities: ["text"],
  layouts: LLAMA3_LAYOUTS,
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/llama3/state_dict_adapter.py",
    "https://github.com/pytorch/torchtitan/blob/v0.2.2/torchtitan/models/llama3/model/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/llama/modeling_llama.py",
    "https://github.com/meta-llama/llama-models/blob/a9c89c471f793423afd4cc3ca8671d6e56fe64cb/models/llama3/model.py",
    "https://github.com/vllm-project/vllm/blob/0035bdf2b1ac243ef6f31eef27411b022461df8e/vllm/model_executor/models/llama.py",
  ],
  graphs: ["native", "hf"],
  probes: [
    { model_type: "llama", attention_bias: true, mlp_bias: true },
    { model_type: "llama", attention_bias: true },
    { model_type: "llama", mlp_bias: true },
    { model_type: "llama", tie_word_embeddings: true },
    { model_type: "llama" },
  ],
  open: (json, where, shapes) =>
    openFamily(isParams(json, where) ? parseParams(json, where, shapes) : parseLlama3Config(json, where), json),
};

const openFamily = (config: Llama3Config, json: JsonObject): Family => ({
  family: "llama3",
  vocabSize: config.vocabSize,
  maxPositions: config.maxPositions,
  dtype: config.dtype,
  axes: () => llama3Axes(config),
  rules: (layout) => llama3Rules(config, layout),
  hfConfig: () => (json.model_type === undefined ? llama3HfConfig(config) : json),
  layoutConfig: (layout) => (layout === META ? { name: PARAMS_NAME, json: paramsOf(config) } : null),
  math: () => mathOf(config),
  forward(layout) {
    if (hasNoGraph(layout)) return noGraph("llama3", layout);
    return layout === "hf" ? hfForward(config) : nativeForward(config, layout);
  },
  knownDifferences: (layout) => (layout === "hf" || hasNoGraph(layout) ? [] : nativeDifferences(config, layout)),
});

const hasNoGraph = (layout: string): boolean => layout === VLLM || layout === META;

function mathOf(config: Llama3Config) {
  const { rope, dtype: _, ...sizes } = config;
  const { invFreq, attentionFactor } = transformersFrequencies(rope);
  return {
    ...sizes,
    activation: "silu",
    attentionScale: config.headDim ** -0.5,
    invFreq: [...invFreq],
    ropeAttentionFactor: attentionFactor,
  };
}
