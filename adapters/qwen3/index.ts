import { transformersFrequencies } from "../../numerics/rope.ts";
import { defineFamily } from "../../src/family/define.ts";
import { known } from "../common/known.ts";
import { extraStates, megatronRow } from "../trainers/megatron.ts";
import { decoderArguments } from "../trainers/megatron-run-arguments.ts";
import { fused, TORCHTITAN, torchtitanRows, UNFUSED } from "../trainers/torchtitan.ts";
import { vllmRow } from "../trainers/vllm.ts";
import { parseQwen3Config, type Qwen3Config, qwen3HfConfig } from "./config.ts";
import { hfForward } from "./hf.ts";
import { qwen3Axes, qwen3Rules } from "./mapping.ts";
import { megatronRules } from "./megatron.ts";
import { nativeDifferences, nativeForward } from "./native.ts";
import { megatronForward } from "./native-megatron.ts";
import { vllmRules } from "./vllm.ts";

const row = torchtitanRows({ rules: qwen3Rules, graph: nativeForward, differences: nativeDifferences });

export const qwen3 = defineFamily({
  family: "qwen3",
  modelTypes: ["qwen3"],
  flavours: ["dense", "tied", "grouped-query", "biased", "yarn", "sliding-window"],
  modalities: ["text"],
  known: known("SLIDING_WINDOW", "YARN_ATTENTION_FACTOR"),
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/qwen3/state_dict_adapter.py",
    "https://github.com/pytorch/torchtitan/blob/v0.2.2/torchtitan/models/qwen3/model/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/qwen3/modeling_qwen3.py",
  ],
  probes: [
    { model_type: "qwen3", attention_bias: true },
    { model_type: "qwen3", tie_word_embeddings: true },
    { model_type: "qwen3" },
  ],
  parse: (json, where) => parseQwen3Config(json, where),
  facts: (config) => config,
  axes: qwen3Axes,
  math: mathOf,
  hfConfig: (config, json) => (json.model_type === undefined ? qwen3HfConfig(config) : json),
  hf: { graph: hfForward },
  layouts: [
    row("torchtitan", TORCHTITAN["2026-04-27"]),
    row("torchtitan-fused", fused(TORCHTITAN["2026-04-27"]), UNFUSED),
    row("torchtitan-0.2", TORCHTITAN["0.2.0"], "2026-04-16"),
    vllmRow(vllmRules),
    megatronRow({
      rules: megatronRules,
      graph: megatronForward,
      emptyEntries: (c) => extraStates(c.nLayers),
      argumentsOf: (c) =>
        c.attentionBias || c.windows.some((size) => size !== null)
          ? null
          : decoderArguments(c, { qkNorm: true, biases: false }),
    }),
  ],
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
