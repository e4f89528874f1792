// DeepSeek-V3 under Megatron-Core's names. Axes as in common/deepseek-table.ts; channels in HF's order. `moe_layer_freq` is a
// list where the first layers are dense, which saves layers one by one.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/gpt_model.py
import { inCanonicalOrder, type MapRule, type Rule, together } from "../../src/table/rule.ts";
import type { DeepseekV3Config } from "../common/deepseek-decoder.ts";
import { ofMtp, repeatedByMtp, unannounced } from "../trainers/further-tokens.ts";
import {
  embedding,
  finalNorm,
  gatedMlp,
  head,
  type Layer,
  type LayerRules,
  layers,
  singleLayers,
} from "../trainers/megatron.ts";
import {
  decoderStates,
  expertBias,
  experts,
  FURTHER,
  furtherStates,
  furtherTokens,
  latentAttention,
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

export function megatronRules(c: DeepseekV3Config): Rule[] {
  const attention = (layer: Layer) => latentAttention(layer, c.qLoraRank !== null);
  return [
    ...embedding(),
    ...(c.nDenseLayers === 0
      ? layers((layer) => [...attention(layer), ...mixture(layer)])
      : layers(
          (layer) => [
            ...attention(layer),
            ...normAfterLatents(layer.over("dense"), false),
            ...gatedMlp(layer.over("dense"), "mlp", "mlp", "f"),
            ...mixture(layer.over("moe")),
          ],
          { unlike: true },
        )),
    finalNorm(),
    ...head(c.tied),
    ...(c.nMtpLayers === 0 ? unannounced(c) : further(c)),
  ];
}

/** As in mapping.ts: each of these layers is present or absent as a whole. */
function further(c: DeepseekV3Config): Rule[] {
  const rules: LayerRules = (layer) => {
    const all = [...latentAttention(layer, c.qLoraRank !== null), ...mixture(layer)];
    const tensors = all.filter((rule): rule is MapRule => rule.kind === "map");
    return [
      ofMtp(c, together("mtpLayer", [...furtherTokens("model.layers.{m+L}"), ...inCanonicalOrder(tensors)])),
      ...all.filter((rule) => rule.kind === "tie"),
    ];
  };
  return [...singleLayers(rules, FURTHER), ...repeatedByMtp(c)];
}

export function emptyEntries(c: DeepseekV3Config): readonly string[] {
  const kind = { attention: "latent" as const, experts: c.nExperts };
  const dense = Array.from({ length: c.nDenseLayers }, (_, l) => l);
  return [...decoderStates(c.nLayers, dense, kind), ...furtherStates(c.nMtpLayers, kind)];
}
