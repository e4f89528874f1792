// GLM-4.5 to GLM-4.7 under Megatron-Core's names. Axes as in mapping.ts; channels in HF's order. `moe_layer_freq` is a list
// where the first layers are dense, which saves layers one by one.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/gpt_model.py
import { inCanonicalOrder, type MapRule, type Rule, together } from "../../src/table/rule.ts";
import { inverseFrequencies } from "../common/derived-buffers.ts";
import { ofMtp, repeatedByMtp, unannounced } from "../trainers/further-tokens.ts";
import {
  embedding,
  finalNorm,
  gatedMlp,
  head,
  inputNorm,
  type LayerRules,
  layers,
  outputProjection,
  preMlpNorm,
  qkNorms,
  qkv,
  singleLayers,
} from "../trainers/megatron.ts";
import type { OwnArguments } from "../trainers/megatron-args.ts";
import {
  decoderStates,
  expertBias,
  experts,
  FURTHER,
  furtherStates,
  furtherTokens,
  preExpertsNorm,
  router,
  sharedExperts,
} from "../trainers/megatron-moe.ts";
import type { Glm4MoeConfig } from "./config.ts";

export function megatronRules(c: Glm4MoeConfig): Rule[] {
  const attention = attentionOf(c);
  return [
    ...embedding(),
    ...(c.nDenseLayers === 0
      ? layers((layer) => [...attention(layer), ...mixture(layer)])
      : layers(
          (layer) => [
            ...attention(layer),
            preMlpNorm(layer.over("dense")),
            ...gatedMlp(layer.over("dense"), "mlp", "mlp", "f"),
            ...mixture(layer.over("moe")),
          ],
          { unlike: true },
        )),
    finalNorm(),
    ...head(c.tied),
    ...(c.nMtpLayers === 0 ? unannounced(c) : further(c)),
    ...inverseFrequencies(c.rope),
  ];
}

const attentionOf =
  (c: Glm4MoeConfig): LayerRules =>
  (layer) => [
    inputNorm(layer),
    qkv(layer),
    ...(c.attentionBias ? [qkv(layer, "bias")] : []),
    outputProjection(layer),
    ...(c.qkNorm ? qkNorms(layer) : []),
  ];

const mixture: LayerRules = (layer) => [
  ...preExpertsNorm(layer),
  router(layer),
  expertBias(layer),
  ...experts(layer),
  ...sharedExperts(layer),
];

/** Each of these layers is present or absent as a whole. */
function further(c: Glm4MoeConfig): Rule[] {
  const rules: LayerRules = (layer) => {
    const all = [...attentionOf(c)(layer), ...mixture(layer)];
    const tensors = all.filter((rule): rule is MapRule => rule.kind === "map");
    return [
      ofMtp(c, together("mtpLayer", [...furtherTokens("model.layers.{m+L}"), ...inCanonicalOrder(tensors)])),
      ...all.filter((rule) => rule.kind === "tie"),
    ];
  };
  return [...singleLayers(rules, FURTHER), ...repeatedByMtp(c)];
}

export function emptyEntries(c: Glm4MoeConfig): readonly string[] {
  const kind = { attention: "heads" as const, experts: c.nExperts };
  const dense = Array.from({ length: c.nDenseLayers }, (_, l) => l);
  return [...decoderStates(c.nLayers, dense, kind), ...furtherStates(c.nMtpLayers, kind)];
}

export const ownArguments: OwnArguments = {
  fields: ({ qk_layernorm: norms }) => (typeof norms === "boolean" ? { use_qk_norm: norms } : {}),
};
