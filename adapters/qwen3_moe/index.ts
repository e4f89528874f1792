import { transformersFrequencies } from "../../numerics/rope.ts";
import { defineFamily } from "../../src/family/define.ts";
import { known } from "../common/known.ts";
import { megatronRow } from "../trainers/megatron.ts";
import { fused, TORCHTITAN, torchtitanRows, UNFUSED } from "../trainers/torchtitan.ts";
import { vllmRow } from "../trainers/vllm.ts";
import { parseQwen3MoeConfig, type Qwen3MoeConfig, qwen3MoeHfConfig } from "./config.ts";
import { hfForward } from "./hf.ts";
import { qwen3MoeAxes, qwen3MoeRules } from "./mapping.ts";
import { emptyEntries, megatronRules } from "./megatron.ts";
import { nativeDifferences, nativeForward } from "./native.ts";
import { megatronForward } from "./native-megatron.ts";
import { vllmRules } from "./vllm.ts";

const row = torchtitanRows({ rules: qwen3MoeRules, graph: nativeForward, differences: nativeDifferences });

export const qwen3Moe = defineFamily({
  family: "qwen3_moe",
  modelTypes: ["qwen3_moe"],
  flavours: ["moe", "dense layers between", "tied", "grouped-query", "biased", "yarn", "sliding-window"],
  modalities: ["text"],
  known: known("ROUTE_NORM", "SLIDING_WINDOW", "YARN_ATTENTION_FACTOR"),
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/qwen3/state_dict_adapter.py",
    "https://github.com/pytorch/torchtitan/blob/v0.2.2/torchtitan/models/qwen3/model/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/qwen3_moe/modeling_qwen3_moe.py",
  ],
  probes: [
    { model_type: "qwen3_moe", num_hidden_layers: 1, attention_bias: true },
    { model_type: "qwen3_moe", num_hidden_layers: 1, tie_word_embeddings: true },
    { model_type: "qwen3_moe", num_hidden_layers: 1 },
    { model_type: "qwen3_moe", num_hidden_layers: 2, mlp_only_layers: [0] },
  ],
  parse: (json, where) => parseQwen3MoeConfig(json, where),
  facts: (config) => config,
  axes: qwen3MoeAxes,
  math: mathOf,
  hfConfig: (config, json) => (json.model_type === undefined ? qwen3MoeHfConfig(config) : json),
  hf: { graph: hfForward },
  layouts: [
    row("torchtitan", TORCHTITAN["2026-07-16"]),
    row("torchtitan-2026-05", TORCHTITAN["2026-05-27"], "2026-07-16"),
    row("torchtitan-2026-05-fused", fused(TORCHTITAN["2026-05-27"]), UNFUSED),
    row("torchtitan-2026-04-27", TORCHTITAN["2026-04-27"], "2026-05-27"),
    row("torchtitan-2026-04-16", TORCHTITAN["2026-04-16"], "2026-04-27"),
    row("torchtitan-0.2", TORCHTITAN["0.2.0"], "2026-04-16"),
    vllmRow(vllmRules),
    megatronRow({ rules: megatronRules, emptyEntries, graph: megatronForward }),
  ],
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
