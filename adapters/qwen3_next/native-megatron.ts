// Qwen3-Next as Megatron-Core runs it.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/gpt_model.py
import type { Forward } from "../../numerics/graph.ts";
import { ropeTable } from "../../numerics/rope.ts";
import { gatedDeltaGpt } from "../common/gated-delta/megatron-graph.ts";
import { megatronFrequencies } from "../trainers/megatron-graph.ts";
import { softmaxRouter } from "../trainers/megatron-graph-moe.ts";
import type { Qwen3NextConfig } from "./config.ts";

export function megatronForward(config: Qwen3NextConfig): Forward {
  const frequencies = megatronFrequencies(config.rope);
  // moe_router_pre_softmax is what HF says by norm_topk_prob: false
  const router = softmaxRouter(config.topK, !config.normTopK);
  const model = { ...config, router: (layer: number) => (config.denseLayers.includes(layer) ? null : router) };

  return function* (op, weight, { ids_T, has = () => false }) {
    const positions = ids_T.map((_, t) => t);
    return yield* gatedDeltaGpt(model, { op, weight, has, ids_T, table: ropeTable(frequencies, positions) });
  };
}
