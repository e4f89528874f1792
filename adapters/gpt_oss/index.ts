import { transformersFrequencies } from "../../numerics/rope.ts";
import { defineFamily } from "../../src/family/define.ts";
import { MXFP4_EXPERTS } from "../common/encodable.ts";
import { known } from "../common/known.ts";
import { megatronRow } from "../trainers/megatron.ts";
import { expertsAsFfn } from "../trainers/megatron-moe-args.ts";
import { TORCHTITAN, torchtitanRows } from "../trainers/torchtitan.ts";
import { type GptOssConfig, gptOssHfConfig, parseGptOssConfig } from "./config.ts";
import { hfForward } from "./hf.ts";
import { gptOssAxes, gptOssRules } from "./mapping.ts";
import { emptyEntries, megatronRules } from "./megatron.ts";
import { nativeDifferences, nativeForward } from "./native.ts";
import { megatronDifferences, megatronForward } from "./native-megatron.ts";

const row = torchtitanRows({ rules: gptOssRules, graph: nativeForward, differences: nativeDifferences });

export const gptOss = defineFamily({
  family: "gpt_oss",
  modelTypes: ["gpt_oss"],
  flavours: ["moe", "grouped-query", "biased", "sinks", "sliding-window", "yarn", "tied"],
  modalities: ["text"],
  known: known("SWIGLU_ALPHA", "YARN_ATTENTION_FACTOR"),
  encodings: ["mxfp4"],
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/gpt_oss/state_dict_adapter.py",
    "https://github.com/pytorch/torchtitan/blob/v0.2.2/torchtitan/models/gpt_oss/model/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/gpt_oss/modeling_gpt_oss.py",
  ],
  probes: [
    { model_type: "gpt_oss", num_hidden_layers: 1 },
    { model_type: "gpt_oss", num_hidden_layers: 1, tie_word_embeddings: true },
  ],
  parse: (json, where) => parseGptOssConfig(json, where),
  encodable: { mxfp4: MXFP4_EXPERTS },
  facts: (config) => config,
  axes: gptOssAxes,
  math: mathOf,
  hfConfig: (config, json) => (json.model_type === undefined ? gptOssHfConfig(config) : json),
  hf: { graph: hfForward },
  layouts: [
    row("torchtitan", TORCHTITAN["2026-07-16"]),
    row("torchtitan-2026-05", TORCHTITAN["2026-05-27"], "2026-07-16"),
    row("torchtitan-2026-04-27", TORCHTITAN["2026-04-27"], "2026-05-27"),
    row("torchtitan-2026-04-16", TORCHTITAN["2026-04-16"], "2026-04-27"),
    row("torchtitan-0.2", TORCHTITAN["0.2.0"], "2026-04-16"),
    megatronRow({
      rules: megatronRules,
      emptyEntries,
      ownArguments: { fields: expertsAsFfn },
      graph: megatronForward,
      differences: megatronDifferences,
    }),
  ],
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
