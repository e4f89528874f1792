// Dense Qwen3 under Megatron-Core's names. Axes as in mapping.ts; channels in HF's order.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/gpt_model.py
import type { Rule } from "../../src/table/rule.ts";
import { inverseFrequencies } from "../common/derived-buffers.ts";
import {
  embedding,
  finalNorm,
  gatedMlp,
  head,
  inputNorm,
  layers,
  outputProjection,
  preMlpNorm,
  qkNorms,
  qkv,
} from "../trainers/megatron.ts";
import type { Qwen3Config } from "./config.ts";

export const megatronRules = (c: Qwen3Config): Rule[] => [
  ...embedding(),
  ...layers((layer) => [
    inputNorm(layer),
    qkv(layer),
    ...(c.attentionBias ? [qkv(layer, "bias")] : []),
    outputProjection(layer),
    ...(c.attentionBias ? [layer.row("self_attention.linear_proj.bias", "self_attn.o_proj.bias", "d")] : []),
    ...qkNorms(layer),
    preMlpNorm(layer),
    ...gatedMlp(layer, "mlp", "mlp", "f"),
  ]),
  finalNorm(),
  ...head(c.tied),
  ...inverseFrequencies(c.rope),
];
