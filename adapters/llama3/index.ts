import { transformersFrequencies } from "../../numerics/rope.ts";
import { defineFamily } from "../../src/family/define.ts";
import { known } from "../common/known.ts";
import { extraStates, megatronRow } from "../trainers/megatron.ts";
import { decoderArguments } from "../trainers/megatron-run-arguments.ts";
import { fused, TORCHTITAN, torchtitanRows, UNFUSED } from "../trainers/torchtitan.ts";
import { vllmRow } from "../trainers/vllm.ts";
import { type Llama3Config, llama3HfConfig, parseLlama3Config } from "./config.ts";
import { hfForward } from "./hf.ts";
import { llama3Axes, llama3Rules } from "./mapping.ts";
import { megatronRules } from "./megatron.ts";
import { metaRules } from "./meta.ts";
import { nativeDifferences, nativeForward } from "./native.ts";
import { megatronForward } from "./native-megatron.ts";
import { isParams, PARAMS_NAME, paramsOf, parseParams } from "./params.ts";
import { vllmRules } from "./vllm.ts";

const row = torchtitanRows({ rules: llama3Rules, graph: nativeForward, differences: nativeDifferences });

export const llama3 = defineFamily({
  family: "llama3",
  modelTypes: ["llama"],
  flavours: ["dense", "tied", "grouped-query", "biased", "rope-scaled"],
  modalities: ["text"],
  known: known("YARN_ATTENTION_FACTOR"),
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/llama3/state_dict_adapter.py",
    "https://github.com/pytorch/torchtitan/blob/v0.2.2/torchtitan/models/llama3/model/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/llama/modeling_llama.py",
    "https://github.com/meta-llama/llama-models/blob/a9c89c471f793423afd4cc3ca8671d6e56fe64cb/models/llama3/model.py",
    "https://github.com/vllm-project/vllm/blob/0035bdf2b1ac243ef6f31eef27411b022461df8e/vllm/model_executor/models/llama.py",
  ],
  probes: [
    { model_type: "llama", attention_bias: true, mlp_bias: true },
    { model_type: "llama", attention_bias: true },
    { model_type: "llama", mlp_bias: true },
    { model_type: "llama", tie_word_embeddings: true },
    { model_type: "llama" },
  ],
  parse: (json, where, shapes) =>
    isParams(json, where) ? parseParams(json, where, shapes) : parseLlama3Config(json, where),
  facts: (config) => config,
  axes: llama3Axes,
  math: mathOf,
  hfConfig: (config, json) => (json.model_type === undefined ? llama3HfConfig(config) : json),
  hf: { graph: hfForward },
  layouts: [
    row("torchtitan", TORCHTITAN["2026-04-27"]),
    row("torchtitan-fused", fused(TORCHTITAN["2026-04-27"]), UNFUSED),
    row("torchtitan-0.2", TORCHTITAN["0.2.0"], "2026-04-16"),
    {
      name: "meta",
      trainer: "meta",
      since: "Llama 2",
      ranked: true,
      rules: metaRules,
      graph: { none: "Meta's own model computes what torchtitan's does, and is not written as a graph of its own" },
      files: (config) => [{ name: PARAMS_NAME, json: paramsOf(config) }],
    },
    vllmRow(vllmRules),
    megatronRow({
      rules: megatronRules,
      graph: megatronForward,
      emptyEntries: (c) => extraStates(c.nLayers),
      argumentsOf: (c) =>
        c.attentionBias !== c.mlpBias ? null : decoderArguments(c, { qkNorm: false, biases: c.attentionBias }),
    }),
  ],
});

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
