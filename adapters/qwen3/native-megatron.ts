// Qwen3 as Megatron-Core's GPTModel runs it: `qk_layernorm`, and a window where the config has one (`window_size`).
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/gpt_layer_specs.py
import type { Forward } from "../../numerics/graph.ts";
import { gatedMlp, gptForward, gqa, megatronFrequencies } from "../trainers/megatron-graph.ts";
import type { Qwen3Config } from "./config.ts";

export const megatronForward = (c: Qwen3Config): Forward =>
  gptForward({
    ...c,
    frequencies: megatronFrequencies(c.rope),
    attention: gqa({
      ...c,
      qkNorm: true,
      qkvBias: c.attentionBias,
      projectionBias: c.attentionBias,
      mask: (layer) => {
        const size = c.windows[layer] ?? null;
        return size === null ? { kind: "causal" } : { kind: "window", size };
      },
    }),
    mlp: gatedMlp({ ...c, bias: false }),
  });
