import type { Adapter, Family, JsonObject } from "../../src/family/adapter.ts";
import type { Encodable } from "../../src/family/encodable.ts";
import { deepseekV3Math } from "../common/deepseek-decoder.ts";
import { decoderAxes } from "../common/deepseek-table.ts";
import { noGraph } from "../common/no-graph.ts";
import { VLLM } from "../trainers/vllm.ts";
import { type DeepseekV3Config, parseDeepseekV3Config } from "./config.ts";
import { hfForward } from "./hf.ts";
import { DEEPSEEK_V3_LAYOUTS, deepseekV3Rules } from "./mapping.ts";
import { deepseekV3HfConfig, parseDeepseekV3Args } from "./model-args.ts";
import { nativeDifferences, nativeForward } from "./native.ts";

export const deepseekV3: Adapter = {
  family: "deepseek_v3",
  modelTypes: ["deepseek_v3"],
  flavours: ["moe", "query-latent", "direct-query", "grouped-routing", "multi-token-prediction", "yarn", "tied"],
  modalities: ["text"],
  encodings: ["fp8"],
  layouts: DEEPSEEK_V3_LAYOUTS,
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/deepseek_v3/state_dict_adapter.py",
    "https://github.com/pytorch/torchtitan/blob/v0.2.2/torchtitan/models/deepseek_v3/model/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/deepseek_v3/modeling_deepseek_v3.py",
  ],
  graphs: ["native", "hf"],
  probes: [
    { model_type: "deepseek_v3", ...probeSizes() },
    { model_type: "deepseek_v3", ...probeSizes(), tie_word_embeddings: true },
    { model_type: "deepseek_v3", ...probeSizes(), q_lora_rank: null },
  ],
  open: (json, where) => {
    const parse = json.model_type === undefined ? parseDeepseekV3Args : parseDeepseekV3Config;
    return openFamily(parse(json, where), json);
  },
};

/** Every kind of key, once: layers and experts differ in their numbers only. */
function probeSizes() {
  return { num_hidden_layers: 2, first_k_dense_replace: 1, n_routed_experts: 2, n_group: 1, topk_group: 1 };
}

/** DeepSeek's own files keep embeddings, head, router and `eh_proj`, which joins the inputs of MTP, plain. */
const ENCODABLE: Encodable = {
  fp8: {
    keys: [
      ...["q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"],
      ...["gate_proj", "up_proj", "down_proj"],
    ].map((module) => `.${module}.weight`),
  },
};

const openFamily = (config: DeepseekV3Config, json: JsonObject): Family => ({
  family: "deepseek_v3",
  vocabSize: config.vocabSize,
  maxPositions: config.maxPositions,
  dtype: config.dtype,
  encodable: ENCODABLE,
  axes: () => decoderAxes(config),
  rules: (layout) => deepseekV3Rules(config, layout),
  hfConfig: () => (json.model_type === undefined ? deepseekV3HfConfig(config) : json),
  math: () => deepseekV3Math(config),
  forward(layout) {
    if (layout === VLLM) return noGraph("deepseek_v3", layout);
    return layout === "hf" ? hfForward(config) : nativeForward(config, layout);
  },
  knownDifferences: (layout) => (layout === "hf" || layout === VLLM ? [] : nativeDifferences(config, layout)),
});
