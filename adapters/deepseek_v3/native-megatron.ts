// DeepSeek-V3 as Megatron-Core's GPTModel runs it: latent attention, a sigmoid router with groups, shared experts, MTP.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/multi_latent_attention.py
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/moe/moe_utils.py
import type { Forward, KnownDifference } from "../../numerics/graph.ts";
import type { RopeSpec } from "../../numerics/rope.ts";
import { InputError } from "../../src/base/errors.ts";
import { gptForward, megatronFrequencies } from "../trainers/megatron-graph.ts";
import { latentAttention } from "../trainers/megatron-graph-moe.ts";
import {
  groupedMixture,
  megatronRouting,
  type Routing,
  routingDifferences,
} from "../trainers/megatron-graph-routing.ts";
import type { DeepseekV3Config } from "./config.ts";

const ATTENTION =
  "https://github.com/NVIDIA/Megatron-LM/blob/core_v0.16.1/megatron/core/transformer/multi_latent_attention.py";

/** Settings in which Megatron-Core and transformers differ at some configs. */
interface Upstream extends Routing {
  /** Epsilon of the latents' norms. */
  readonly latentEps: number;
}

export const megatronForward = (config: DeepseekV3Config): Forward => forwardWith(config, megatron(config));

const megatron = (c: DeepseekV3Config): Upstream => ({
  latentEps: c.normEps,
  ...megatronRouting(c),
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
  for (const { change, difference } of routingDifferences(config)) add(change, difference);
  return differences;
}

/** `_yarn_get_mscale` of `mscale_all_dim`, squared. */
function softmaxScale(rope: RopeSpec, channels: number): number {
  if (rope.kind !== "yarn" || rope.factor <= 1) return channels ** -0.5;
  const mscale = 0.1 * (rope.mscaleAllDim ?? 0) * Math.log(rope.factor) + 1;
  return mscale * mscale * channels ** -0.5;
}

function forwardWith(c: DeepseekV3Config, { latentEps, ...routing }: Upstream): Forward {
  if (c.rope.kind === "yarn" && !c.rope.truncate) throw noYarn();
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
    mlp: groupedMixture(c, routing),
  });
}

const noYarn = (): InputError =>
  new InputError("NO_GRAPH", "rope_parameters: Megatron-Core's latent attention rounds the bounds of YaRN's ramp", {
    expected: "truncate true in rope_parameters",
    found: "truncate false",
    help: "convert it to hf and compare that: `diff` shows that both hold the same weights",
  });
