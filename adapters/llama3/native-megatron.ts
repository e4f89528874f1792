// Llama as Megatron-Core's GPTModel runs it.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/gpt_layer_specs.py
import type { Forward } from "../../numerics/graph.ts";
import { gatedMlp, gptForward, gqa, megatronFrequencies } from "../trainers/megatron-graph.ts";
import type { Llama3Config } from "./config.ts";

export const megatronForward = (c: Llama3Config): Forward =>
  gptForward({
    ...c,
    frequencies: megatronFrequencies(c.rope),
    attention: gqa({
      ...c,
      qkNorm: false,
      qkvBias: c.attentionBias,
      projectionBias: c.attentionBias,
      mask: () => ({ kind: "causal" }),
    }),
    mlp: gatedMlp({ ...c, bias: c.mlpBias }),
  });
