// GLM-4.5 to GLM-4.7 as Megatron-Core's GPTModel runs them: `rotary_percent` of each head is rotated, the router is a sigmoid
// with a bias for the choice, and experts are shared.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/common/embeddings/rope_utils.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/moe/moe_utils.py
import type { Forward, KnownDifference } from "../../numerics/graph.ts";
import { gatedMlp, gptForward, gqa, type LayerBlock, megatronFrequencies } from "../trainers/megatron-graph.ts";
import { mixtureOfExperts, sigmoidRouter, swiglu } from "../trainers/megatron-graph-moe.ts";
import type { Glm4MoeConfig } from "./config.ts";

const ROUTING = "https://github.com/NVIDIA/Megatron-LM/blob/core_v0.16.1/megatron/core/transformer/moe/moe_utils.py";

/** Settings in which Megatron-Core and transformers differ at some configs. */
interface Upstream {
  /** Whether the weights of the chosen experts are divided by their sum. */
  readonly isNormalised: boolean;
  /** How many of its best experts make the score of a group. */
  readonly perGroup: number;
}

const megatron = (c: Glm4MoeConfig): Upstream => ({
  isNormalised: c.expertsPerToken > 1,
  perGroup: Math.floor(c.expertsPerToken / c.groupsPerToken),
});

export const megatronForward = (config: Glm4MoeConfig): Forward => forwardWith(config, megatron(config));

/** Where this forward pass is known to differ from transformers'. */
export function megatronDifferences(config: Glm4MoeConfig): readonly KnownDifference[] {
  const differences: KnownDifference[] = [];
  let upstream = megatron(config);
  const add = (change: Partial<Upstream>, difference: Omit<KnownDifference, "undone">) => {
    upstream = { ...upstream, ...change };
    differences.push({ ...difference, undone: forwardWith(config, upstream) });
  };
  if (config.normaliseWeights !== upstream.isNormalised) {
    add(
      { isNormalised: config.normaliseWeights },
      {
        code: "ROUTE_NORM",
        explanation: `Megatron-Core divides the weights of several chosen experts by their sum; norm_topk_prob is ${config.normaliseWeights}`,
        source: ROUTING,
        fix: `set norm_topk_prob to ${upstream.isNormalised} if the model was trained with Megatron-Core`,
      },
    );
  }
  if (config.nGroups > config.groupsPerToken && upstream.perGroup !== 2) {
    add(
      { perGroup: 2 },
      {
        code: "GROUP_SCORES",
        explanation: `transformers scores a group of experts by its best 2, Megatron-Core by its best ${upstream.perGroup}: num_experts_per_tok / topk_group`,
        source: ROUTING,
        fix: "train with twice as many experts a token as groups a token",
      },
    );
  }
  return differences;
}

function forwardWith(c: Glm4MoeConfig, { isNormalised, perGroup }: Upstream): Forward {
  const experts = mixtureOfExperts({
    normEps: c.normEps,
    router: sigmoidRouter({
      k: c.expertsPerToken,
      nExperts: c.nExperts,
      nGroups: c.nGroups,
      groupsPerToken: c.groupsPerToken,
      perGroup,
      isNormalised,
      scale: c.routeScale,
    }),
    activation: swiglu,
    expertBias: true,
    bias: false,
    shared: true,
  });
  const dense = gatedMlp({ normEps: c.normEps, bias: false });
  const mlp: LayerBlock = (at, x_TD) => (at.layer < c.nDenseLayers ? dense : experts)(at, x_TD);
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
    mlp,
  });
}
