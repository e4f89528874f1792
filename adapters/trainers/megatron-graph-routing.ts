// Megatron-Core's sigmoid router with groups, a bias for the choice and shared experts, behind dense first layers, and where it
// chooses or weighs otherwise than transformers.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/moe/moe_utils.py
import type { KnownDifference } from "../../numerics/graph.ts";
import { gatedMlp, type LayerBlock } from "./megatron-graph.ts";
import { mixtureOfExperts, sigmoidRouter, swiglu } from "./megatron-graph-moe.ts";

const SOURCE = "https://github.com/NVIDIA/Megatron-LM/blob/core_v0.16.1/megatron/core/transformer/moe/moe_utils.py";

interface Config {
  readonly normEps: number;
  readonly nDenseLayers: number;
  readonly nExperts: number;
  readonly expertsPerToken: number;
  readonly nGroups: number;
  readonly groupsPerToken: number;
  readonly normaliseWeights: boolean;
  readonly routeScale: number;
}

/** Settings in which Megatron-Core and transformers differ at some configs. */
export interface Routing {
  /** Whether the weights of the chosen experts are divided by their sum. */
  readonly isNormalised: boolean;
  /** How many of its best experts make the score of a group. */
  readonly perGroup: number;
}

export const megatronRouting = (c: Config): Routing => ({
  isNormalised: c.expertsPerToken > 1,
  perGroup: Math.floor(c.expertsPerToken / c.groupsPerToken),
});

/** A setting as transformers has it, and what is known of the difference. */
interface RoutingDifference {
  readonly change: Partial<Routing>;
  readonly difference: Omit<KnownDifference, "undone">;
}

export function routingDifferences(c: Config): readonly RoutingDifference[] {
  const { isNormalised, perGroup } = megatronRouting(c);
  const found: RoutingDifference[] = [];
  if (c.normaliseWeights !== isNormalised) {
    found.push({
      change: { isNormalised: c.normaliseWeights },
      difference: {
        code: "ROUTE_NORM",
        explanation: `Megatron-Core divides the weights of several chosen experts by their sum; norm_topk_prob is ${c.normaliseWeights}`,
        source: SOURCE,
        fix: `set norm_topk_prob to ${!c.normaliseWeights} if the model was trained with Megatron-Core`,
      },
    });
  }
  if (c.nGroups > c.groupsPerToken && perGroup !== 2) {
    found.push({
      change: { perGroup: 2 },
      difference: {
        code: "GROUP_SCORES",
        explanation: `transformers scores a group of experts by its best 2, Megatron-Core by its best ${perGroup}: num_experts_per_tok / topk_group`,
        source: SOURCE,
        fix: "train with twice as many experts a token as groups a token",
      },
    });
  }
  return found;
}

export function groupedMixture(c: Config, { isNormalised, perGroup }: Routing): LayerBlock {
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
  return (at, x_TD) => (at.layer < c.nDenseLayers ? dense : experts)(at, x_TD);
}
