// Llama under Megatron-Core's names. Axes as in mapping.ts; channels in HF's order.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/gpt_model.py
import type { Rule } from "../../src/table/rule.ts";
import {
  embedding,
  finalNorm,
  gatedMlp,
  gateUp,
  head,
  inputNorm,
  layers,
  outputProjection,
  preMlpNorm,
  qkv,
} from "../trainers/megatron.ts";
import type { Llama3Config } from "./config.ts";
import { hfBuffers } from "./mapping.ts";

export const megatronRules = (c: Llama3Config): Rule[] => [
  ...embedding(),
  ...layers((layer) => [
    inputNorm(layer),
    qkv(layer),
    ...(c.attentionBias ? [qkv(layer, "bias")] : []),
    outputProjection(layer),
    ...(c.attentionBias ? [layer.row("self_attention.linear_proj.bias", "self_attn.o_proj.bias", "d")] : []),
    preMlpNorm(layer),
    ...gatedMlp(layer, "mlp", "mlp", "f"),
    ...(c.mlpBias
      ? [...gateUp(layer, "mlp", "mlp", "f", "bias"), layer.row("mlp.linear_fc2.bias", "mlp.down_proj.bias", "d")]
      : []),
  ]),
  finalNorm(),
  ...head(c.tied),
  ...hfBuffers(c),
];
