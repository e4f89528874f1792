// DeepSeek-V3 as Megatron-Core's GPTModel runs it: latent attention, a sigmoid router with groups, shared experts, MTP.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/multi_latent_attention.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/moe/moe_utils.py
import type { Forward, KnownDifference } from "../../numerics/graph.ts";
import type { RopeSpec } from "../../numerics/rope.ts";
import { InputError } from "../../src/base/errors.ts";
import { gatedMlp, gptForward, type LayerBlock, megatronFrequencies } from "../trainers/megatron-graph.ts";
import { latentAttention, mixtureOfExperts, sigmoidRouter, swiglu } from "../trainers/megatron-graph-moe.ts";
import type { DeepseekV3Config } from "./config.ts";

const ATTENTION =
  "https://github.com/NVIDIA/Megatron-LM/blob/core_v0.16.1/megatron/core/transformer/multi_latent_attention.py";
const ROUTING = "https://github.com/NVIDIA/Megatron-LM/blob/core_v0.16.1/megatron/core/transformer/moe/moe_utils.py";

/** Settings in which Megatron-Core and transformers differ at some configs. */
interface Upstream {
  /** Epsilon of the latents' norms. */
  readonly latentEps: number;
  /** Whether the weights of the chosen experts are divided by their sum. */
  readonly isNormalised: boolean;
  /** How many of its best experts make the score of a group. */
  readonly perGroup: number;
}

export const megatronForward = (config: DeepseekV3Config): Forward => forwardWith(config, megatron(config));

const megatron = (c: DeepseekV3Config): Upstream => ({
  latentEps: c.normEps,
  isNormalised: c.expertsPerToken > 1,
  perGroup: Math.floor(c.expertsPerToken / c.groupsPerToken),
});

/** Where this forward pass is known to differ from transformers'. */
export function megatronDifferences(config: DeepseekV3Config): readonly KnownDifference[] {
  const differences: KnownDifference[] = [];
  let upstream = megatron(config);
  const add = (change: Partial<Upstream>, difference: Omit<KnownDifference, "undone">) => {
    upstream = { ...upstream, ...change };
    differences.push({ ...difference, undone: forwardWith(config, upstream) });
  };
  if (config.normEps !== 1e-6) {
    add(
      { latentEps: 1e-6 },
      {
        code: "MLA_NORM_EPS",
        explanation: `transformers' norms of the latents have eps 1e-6 whatever rms_norm_eps (${config.normEps}) says; Megatron-Core's have that one`,
        source: ATTENTION,
        fix: "train with eps 1e-6, or accept the difference: about 2e-10 nats/token at 1e-5",
      },
    );
  }
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

/** `_yarn_get_mscale` of `mscale_all_dim`, squared. */
function softmaxScale(rope: RopeSpec, channels: number): number {
  if (rope.kind !== "yarn" || rope.factor <= 1) return channels ** -0.5;
  const mscale = 0.1 * (rope.mscaleAllDim ?? 0) * Math.log(rope.factor) + 1;
  return mscale * mscale * channels ** -0.5;
}

function forwardWith(c: DeepseekV3Config, { latentEps, isNormalised, perGroup }: Upstream): Forward {
  if (c.rope.kind === "yarn" && !c.rope.truncate) throw noYarn();
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
    attention: latentAttention({
      ...c,
      hasQueryLatent: c.qLoraRank !== null,
      latentEps,
      scale: softmaxScale(c.rope, c.nopeDim + c.ropeDim),
    }),
    mlp,
  });
}

const noYarn = (): InputError =>
  new InputError("NO_GRAPH", "rope_parameters: Megatron-Core's latent attention rounds the bounds of YaRN's ramp", {
    expected: "truncate true in rope_parameters",
    found: "truncate false",
    help: "convert it to hf and compare that: `diff` shows that both hold the same weights",
  });
