// GLM-4.5 to GLM-4.7 as Megatron-Core's GPTModel runs them: `rotary_percent` of each head is rotated, the router is a sigmoid
// with a bias for the choice, and experts are shared.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/common/embeddings/rope_utils.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/moe/moe_utils.py
import type { Forward, KnownDifference } from "../../numerics/graph.ts";
import { gptForward, gqa, megatronFrequencies } from "../trainers/megatron-graph.ts";
import {
  groupedMixture,
  megatronRouting,
  type Routing,
  routingDifferences,
} from "../trainers/megatron-graph-routing.ts";
import type { Glm4MoeConfig } from "./config.ts";

export const megatronForward = (config: Glm4MoeConfig): Forward => forwardWith(config, megatronRouting(config));

/** Where this forward pass is known to differ from transformers'. */
export function megatronDifferences(config: Glm4MoeConfig): readonly KnownDifference[] {
  const differences: KnownDifference[] = [];
  let upstream = megatronRouting(config);
  const add = (change: Partial<Routing>, difference: Omit<KnownDifference, "undone">) => {
    upstream = { ...upstream, ...change };
    differences.push({ ...difference, undone: forwardWith(config, upstream) });
  };
  for (const { change, difference } of routingDifferences(config)) add(change, difference);
  return differences;
}

function forwardWith(c: Glm4MoeConfig, routing: Routing): Forward {
  return gptForward({
    ...c,
    nFurther: c.nMtpLayers,
    frequencies: megatronFrequencies(c.rope),
    attention: gqa({
      ...c,
      rotated: c.rope.dims,
      qkvBias: c.attentionBias,
      projectionBias: false,
      mask: () => ({ kind: "causal" }),
    }),
    mlp: groupedMixture(c, routing),
  });
}
