import { transformersFrequencies } from "../../numerics/rope.ts";
import type { Adapter, Family, JsonObject } from "../adapter.ts";
import { deepseekV3Math } from "../deepseek-decoder.ts";
import { noGraph } from "../no-graph.ts";
import { prefixed } from "../prefixed.ts";
import { KIMI_MODEL_TYPES, type KimiConfig, parseKimiConfig } from "./config.ts";
import { KIMI_LAYOUTS, kimiAxes, kimiRules } from "./mapping.ts";

export const kimiK27: Adapter = {
  family: "kimi_k2_7",
  modelTypes: KIMI_MODEL_TYPES,
  flavours: ["moe", "query-latent", "direct-query", "vision tower", "yarn", "tied"],
  modalities: ["text", "image", "video"],
  layouts: KIMI_LAYOUTS,
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/kimi_k2_7/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/kimi_k25/modeling_kimi_k25.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/conversion_mapping.py",
  ],
  graphs: [],
  probes: [{ q_lora_rank: 2 }, { q_lora_rank: null }].flatMap(probesOf),
  open: (json, where) => openFamily(parseKimiConfig(json, where), json),
};

/** Every kind of key, once: layers, blocks and experts differ in their numbers only. */
function probesOf(text: JsonObject): JsonObject[] {
  const text_config = {
    num_hidden_layers: 2,
    first_k_dense_replace: 1,
    n_routed_experts: 2,
    n_group: 1,
    topk_group: 1,
    ...text,
  };
  const vision_config = { num_hidden_layers: 1 };
  return [false, true].map((tied) => ({
    model_type: "kimi_k25",
    text_config,
    vision_config,
    tie_word_embeddings: tied,
  }));
}

const openFamily = (config: KimiConfig, json: JsonObject): Family => ({
  family: "kimi_k2_7",
  vocabSize: config.text.vocabSize,
  maxPositions: config.text.maxPositions,
  dtype: config.dtype,
  axes: () => kimiAxes(config),
  rules: (layout) => kimiRules(config, layout),
  hfConfig: () => json,
  math: () => mathOf(config),
  forward: () => noGraph("kimi_k2_7"),
  knownDifferences: () => [],
});

function mathOf({ text, vision, tokens }: KimiConfig) {
  const headDim = vision.dim / vision.nHeads;
  return {
    ...deepseekV3Math(text),
    ...prefixed("vision", { ...vision }),
    ...prefixed("token", { ...tokens }),
    visionActivation: "gelu_pytorch_tanh",
    projectorActivation: "gelu",
    /** Of the tower's LayerNorms; no config changes it. */
    visionNormEps: 1e-5,
    visionAttentionScale: headDim ** -0.5,
    /** Of a row or a column, in turn. */
    visionInvFreq: [
      ...transformersFrequencies({ kind: "default", theta: vision.ropeTheta, dims: headDim / 2 }).invFreq,
    ],
  };
}
