// DeepSeek-V3 under Megatron-Core's names. Axes as in common/deepseek-table.ts; channels in HF's order. `moe_layer_freq` is a
// list where the first layers are dense, which saves layers one by one.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/gpt_model.py
import type { Rule } from "../../src/table/rule.ts";
import type { DeepseekV3Config } from "../common/deepseek-decoder.ts";
import { unannounced } from "../trainers/further-tokens.ts";
import { embedding, finalNorm, head, type LayerRules } from "../trainers/megatron.ts";
import {
  decoderStates,
  expertBias,
  experts,
  furtherLayers,
  furtherStates,
  latentAttention,
  mixedLayers,
  normAfterLatents,
  router,
  sharedExperts,
} from "../trainers/megatron-moe.ts";

const mixture: LayerRules = (layer) => [
  ...normAfterLatents(layer, true),
  router(layer),
  expertBias(layer),
  ...experts(layer),
  ...sharedExperts(layer),
];

const attentionOf =
  (c: DeepseekV3Config): LayerRules =>
  (layer) =>
    latentAttention(layer, c.qLoraRank !== null);

export function megatronRules(c: DeepseekV3Config): Rule[] {
  return [
    ...embedding(),
    ...mixedLayers(c.nDenseLayers > 0, {
      attention: attentionOf(c),
      denseNorm: (layer) => normAfterLatents(layer, false),
      mixture,
    }),
    finalNorm(),
    ...head(c.tied),
    ...(c.nMtpLayers === 0
      ? unannounced(c)
      : furtherLayers(c, (layer) => [...attentionOf(c)(layer), ...mixture(layer)])),
  ];
}

export function emptyEntries(c: DeepseekV3Config): readonly string[] {
  const kind = { attention: "latent" as const, experts: c.nExperts };
  const dense = Array.from({ length: c.nDenseLayers }, (_, l) => l);
  return [...decoderStates(c.nLayers, dense, kind), ...furtherStates(c.nMtpLayers, kind)];
}
