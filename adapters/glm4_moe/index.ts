import { defineFamily } from "../../src/family/define.ts";
import { known } from "../common/known.ts";
import { megatronRow } from "../trainers/megatron.ts";
import { BACKEND_SINCE } from "../trainers/torchtitan-backend.ts";
import { vllmRow } from "../trainers/vllm.ts";
import { glm4MoeMath, parseGlm4MoeConfig } from "./config.ts";
import { hfForward } from "./hf.ts";
import { glm4MoeAxes, torchtitanRules } from "./mapping.ts";
import { emptyEntries, megatronRules, ownArguments } from "./megatron.ts";
import { nativeForward } from "./native.ts";
import { megatronDifferences, megatronForward } from "./native-megatron.ts";
import { vllmRules } from "./vllm.ts";

export const glm4Moe = defineFamily({
  family: "glm4_moe",
  modelTypes: ["glm4_moe"],
  flavours: [
    ...["moe", "dense layers first", "shared experts", "grouped-routing", "multi-token-prediction", "partial rotary"],
    ...["query and key norms", "biased", "grouped-query", "yarn", "tied"],
  ],
  modalities: ["text"],
  known: known("GROUP_SCORES", "ROUTE_NORM"),
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/experiments/transformers_modeling_backend/moe_replacement.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/glm4_moe/modeling_glm4_moe.py",
  ],
  probes: [
    { model_type: "glm4_moe", ...probeSizes(), use_qk_norm: true, attention_bias: true },
    { model_type: "glm4_moe", ...probeSizes(), attention_bias: true },
    { model_type: "glm4_moe", ...probeSizes(), use_qk_norm: true },
    { model_type: "glm4_moe", ...probeSizes(), tie_word_embeddings: true },
    { model_type: "glm4_moe", ...probeSizes() },
    // Megatron-Core stacks layers that are all of one kind.
    { model_type: "glm4_moe", ...probeSizes(), first_k_dense_replace: 0 },
    { model_type: "glm4_moe", ...probeSizes(), first_k_dense_replace: 0, tie_word_embeddings: true },
  ],
  parse: (json, where) => parseGlm4MoeConfig(json, where),
  encodable: {
    fp8: { keys: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"].map(ending) },
  },
  facts: (config) => config,
  axes: glm4MoeAxes,
  math: glm4MoeMath,
  hfConfig: (_, json) => json,
  // It has a place for all that the Hub's files hold; torchtitan's has none for biases and MTP.
  hf: { graph: hfForward, openedBy: "vllm" },
  layouts: [
    { name: "torchtitan", trainer: "torchtitan", since: BACKEND_SINCE, rules: torchtitanRules, graph: nativeForward },
    megatronRow({
      rules: megatronRules,
      emptyEntries,
      ownArguments,
      graph: megatronForward,
      differences: megatronDifferences,
    }),
    vllmRow(vllmRules),
  ],
});

/** A config that has every kind of key: layers and experts differ only in their indices. */
function probeSizes() {
  return {
    num_hidden_layers: 2,
    head_dim: 128,
    first_k_dense_replace: 1,
    n_routed_experts: 2,
    num_nextn_predict_layers: 1,
  };
}

/** What joins the inputs of MTP, `eh_proj`, stays plain. */
function ending(module: string): string {
  return `.${module}.weight`;
}
