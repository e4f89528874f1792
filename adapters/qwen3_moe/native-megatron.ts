// Qwen3-MoE as Megatron-Core's GPTModel runs it. `norm_topk_prob` false is `moe_router_pre_softmax`.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/gpt_layer_specs.py
//   NVIDIA-NeMo/Megatron-Bridge@067f987df03b8355b03192d88d70f1709fedf51a:src/megatron/bridge/models/qwen/qwen3_moe_bridge.py
import type { Forward } from "../../numerics/graph.ts";
import { gatedMlp, gptForward, gqa, type LayerBlock, megatronFrequencies } from "../trainers/megatron-graph.ts";
import { mixtureOfExperts, softmaxRouter, swiglu } from "../trainers/megatron-graph-moe.ts";
import type { Qwen3MoeConfig } from "./config.ts";

export function megatronForward(c: Qwen3MoeConfig): Forward {
  const experts = mixtureOfExperts({
    normEps: c.normEps,
    router: softmaxRouter(c.topK, !c.normTopK),
    activation: swiglu,
    expertBias: false,
    bias: false,
    shared: false,
  });
  const dense = gatedMlp({ normEps: c.normEps, bias: false });
  const mlp: LayerBlock = (at, x_TD) => (c.denseLayers.includes(at.layer) ? dense : experts)(at, x_TD);
  return gptForward({
    ...c,
    frequencies: megatronFrequencies(c.rope),
    attention: gqa({
      ...c,
      qkNorm: true,
      qkvBias: c.attentionBias,
      projectionBias: c.attentionBias,
      mask: () => (c.window === null ? { kind: "causal" } : { kind: "window", size: c.window }),
    }),
    mlp,
  });
}
