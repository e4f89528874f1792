import { transformersFrequencies } from "../../numerics/rope.ts";
import { defineFamily } from "../../src/family/define.ts";
import { known } from "../common/known.ts";
import { megatronRow } from "../trainers/megatron.ts";
import { expertsAsFfn } from "../trainers/megatron-moe-args.ts";
import { BACKEND_SINCE } from "../trainers/torchtitan-backend.ts";
import { vllmRow } from "../trainers/vllm.ts";
import { type MixtralConfig, parseMixtralConfig } from "./config.ts";
import { hfForward } from "./hf.ts";
import { mixtralAxes, torchtitanRules } from "./mapping.ts";
import { emptyEntries, megatronRules } from "./megatron.ts";
import { nativeDifferences, nativeForward } from "./native.ts";
import { megatronForward } from "./native-megatron.ts";
import { vllmRules } from "./vllm.ts";

export const mixtral = defineFamily({
  family: "mixtral",
  modelTypes: ["mixtral"],
  flavours: ["moe", "tied", "grouped-query", "sliding-window"],
  modalities: ["text"],
  known: known("ROUTE_NORM", "SLIDING_WINDOW"),
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/experiments/transformers_modeling_backend/moe_replacement.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/mixtral/modeling_mixtral.py",
  ],
  probes: [
    { model_type: "mixtral", num_hidden_layers: 1, tie_word_embeddings: true },
    { model_type: "mixtral", num_hidden_layers: 1 },
  ],
  parse: (json, where) => parseMixtralConfig(json, where),
  encodable: { fp8: { keys: ["_proj.weight", ".w1.weight", ".w2.weight", ".w3.weight"] } },
  facts: (config) => config,
  axes: mixtralAxes,
  math: mathOf,
  hfConfig: (_, json) => json,
  hf: { graph: hfForward },
  layouts: [
    {
      name: "torchtitan",
      trainer: "torchtitan",
      since: BACKEND_SINCE,
      rules: torchtitanRules,
      graph: nativeForward,
      differences: nativeDifferences,
    },
    megatronRow({ rules: megatronRules, emptyEntries, ownArguments: { fields: expertsAsFfn }, graph: megatronForward }),
    vllmRow(vllmRules),
  ],
});

function mathOf(config: MixtralConfig) {
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
