import { defineFamily } from "../../src/family/define.ts";
import type { Encodable } from "../../src/family/encodable.ts";
import { deepseekV3Math } from "../common/deepseek-decoder.ts";
import { decoderAxes } from "../common/deepseek-table.ts";
import { known } from "../common/known.ts";
import { megatronRow } from "../trainers/megatron.ts";
import { TORCHTITAN, torchtitanRows } from "../trainers/torchtitan.ts";
import { vllmRow } from "../trainers/vllm.ts";
import { MODEL_TYPES, parseDeepseekV3Config } from "./config.ts";
import { hfForward } from "./hf.ts";
import { deepseekV3Rules } from "./mapping.ts";
import { emptyEntries, megatronRules } from "./megatron.ts";
import { deepseekV3HfConfig, parseDeepseekV3Args } from "./model-args.ts";
import { nativeDifferences, nativeForward } from "./native.ts";
import { megatronDifferences, megatronForward } from "./native-megatron.ts";
import { ROUTER_IN_TRANSFORMERS } from "./upstream.ts";
import { vllmRules } from "./vllm.ts";

const row = torchtitanRows({ rules: deepseekV3Rules, graph: nativeForward, differences: nativeDifferences });

export const deepseekV3 = defineFamily({
  family: "deepseek_v3",
  modelTypes: MODEL_TYPES,
  flavours: ["moe", "query-latent", "direct-query", "grouped-routing", "multi-token-prediction", "yarn", "tied"],
  modalities: ["text"],
  known: known("GROUP_SCORES", "MLA_NORM_EPS", "MTP_BEFORE_NORM", "ROUTE_NORM", "YARN_MSCALE"),
  encodings: ["fp8"],
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/deepseek_v3/state_dict_adapter.py",
    "https://github.com/pytorch/torchtitan/blob/v0.2.2/torchtitan/models/deepseek_v3/model/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/deepseek_v3/modeling_deepseek_v3.py",
  ],
  probes: [
    { model_type: "deepseek_v3", ...probeSizes() },
    { model_type: "deepseek_v3", ...probeSizes(), tie_word_embeddings: true },
    { model_type: "deepseek_v3", ...probeSizes(), q_lora_rank: null },
  ],
  parse(json, where) {
    const parse = json.model_type === undefined ? parseDeepseekV3Args : parseDeepseekV3Config;
    return parse(json, where);
  },
  changes: [{ ...ROUTER_IN_TRANSFORMERS, concerns: ({ nLayers, nDenseLayers }) => nLayers > nDenseLayers }],
  encodable: encodable(),
  facts: (config) => config,
  axes: decoderAxes,
  math: deepseekV3Math,
  hfConfig: (config, json) => (json.model_type === undefined ? deepseekV3HfConfig(config) : json),
  hf: { graph: hfForward },
  layouts: [
    row("torchtitan", TORCHTITAN["2026-07-16"]),
    row("torchtitan-2026-05", TORCHTITAN["2026-05-27"], "2026-07-16"),
    row("torchtitan-2026-04", TORCHTITAN["2026-04-27"], "2026-05-27"),
    row("torchtitan-0.2", TORCHTITAN["0.2.0"], "2026-04-27"),
    vllmRow(vllmRules),
    megatronRow({ rules: megatronRules, emptyEntries, graph: megatronForward, differences: megatronDifferences }),
  ],
});

/** A config that has every kind of key: layers and experts differ only in their indices. */
function probeSizes() {
  return { num_hidden_layers: 2, first_k_dense_replace: 1, n_routed_experts: 2, n_group: 1, topk_group: 1 };
}

/** DeepSeek's own files do not quantise embeddings, head, router and `eh_proj`, which joins the inputs of MTP. */
function encodable(): Encodable {
  const modules = [
    ...["q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"],
    ...["gate_proj", "up_proj", "down_proj"],
  ];
  return { fp8: { keys: modules.map((module) => `.${module}.weight`) } };
}
