// Mixtral as Megatron-Core's GPTModel runs it: the softmax of a router is over the chosen experts.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/gpt_layer_specs.py
import type { Forward } from "../../numerics/graph.ts";
import { gptForward, gqa, megatronFrequencies } from "../trainers/megatron-graph.ts";
import { mixtureOfExperts, softmaxRouter, swiglu } from "../trainers/megatron-graph-moe.ts";
import type { MixtralConfig } from "./config.ts";

export const megatronForward = (c: MixtralConfig): Forward =>
  gptForward({
    ...c,
    frequencies: megatronFrequencies(c.rope),
    attention: gqa({
      ...c,
      qkNorm: false,
      qkvBias: false,
      projectionBias: false,
      mask: () => (c.window === null ? { kind: "causal" } : { kind: "window", size: c.window }),
    }),
    mlp: mixtureOfExperts({
      normEps: c.normEps,
      router: softmaxRouter(c.topK, false),
      activation: swiglu,
      expertBias: false,
      bias: false,
      shared: false,
    }),
  });
