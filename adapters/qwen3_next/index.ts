import { transformersFrequencies } from "../../numerics/rope.ts";
import { defineFamily } from "../../src/family/define.ts";
import { gatedDeltaArguments } from "../common/gated-delta/megatron-args.ts";
import { prefixed } from "../common/prefixed.ts";
import { megatronRow } from "../trainers/megatron.ts";
import { vllmRow } from "../trainers/vllm.ts";
import { parseQwen3NextConfig, type Qwen3NextConfig } from "./config.ts";
import { hfForward } from "./hf.ts";
import { qwen3NextAxes } from "./mapping.ts";
import { emptyEntries, megatronRules } from "./megatron.ts";
import { megatronForward } from "./native-megatron.ts";
import { vllmRules } from "./vllm.ts";

/** The one of the delta rule's output is a usual norm. */
const CENTRED_NORMS =
  /\b(?:(?:input|post_attention)_layernorm|[qk]_norm|pre_fc_norm_[a-z]+|(?:model|mtp)\.norm)\.weight$/;

/** Configs that have every kind of key: layers differ only in their indices, their attention and their feed-forward. */
const TWO = { model_type: "qwen3_next", num_hidden_layers: 2, full_attention_interval: 2 };

export const qwen3Next = defineFamily({
  family: "qwen3_next",
  modelTypes: ["qwen3_next"],
  flavours: ["moe", "gated shared expert", "gated delta net", "gated attention", "grouped-query", "tied", "yarn"],
  modalities: ["text"],
  sources: [
    "https://github.com/NVIDIA/Megatron-LM/blob/core_v0.16.1/megatron/core/ssm/gated_delta_net.py",
    "https://github.com/NVIDIA-NeMo/Megatron-Bridge/blob/067f987df/src/megatron/bridge/models/qwen/qwen3_next_bridge.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/qwen3_next/modeling_qwen3_next.py",
  ],
  probes: [TWO, { ...TWO, tie_word_embeddings: true }, { ...TWO, num_hidden_layers: 4, mlp_only_layers: [0, 1] }],
  parse: (json, where) => parseQwen3NextConfig(json, where),
  facts: (config) => ({ ...config, centredNorms: CENTRED_NORMS }),
  axes: qwen3NextAxes,
  math: mathOf,
  hfConfig: (_, json) => json,
  hf: { graph: hfForward },
  layouts: [
    megatronRow({ rules: megatronRules, emptyEntries, ownArguments: gatedDeltaArguments, graph: megatronForward }),
    vllmRow(vllmRules),
  ],
});

function mathOf(config: Qwen3NextConfig) {
  const { rope, dtype: _, delta, ...sizes } = config;
  const { invFreq, attentionFactor } = transformersFrequencies(rope);
  return {
    ...sizes,
    ...prefixed("delta", { ...delta }),
    activation: "silu",
    routerScore: "softmax over all",
    attentionScale: config.headDim ** -0.5,
    deltaScale: delta.keyHeadDim ** -0.5,
    rotatedChannels: rope.dims,
    invFreq: [...invFreq],
    ropeAttentionFactor: attentionFactor,
  };
}
