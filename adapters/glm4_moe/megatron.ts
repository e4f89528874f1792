// GLM-4.5 to GLM-4.7 under Megatron-Core's names. Axes as in mapping.ts; channels in HF's order. `moe_layer_freq` is a list
// where the first layers are dense, which saves layers one by one.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/gpt_model.py
import type { Rule } from "../../src/table/rule.ts";
import { inverseFrequencies } from "../common/derived-buffers.ts";
import { unannounced } from "../trainers/further-tokens.ts";
import {
  embedding,
  finalNorm,
  head,
  inputNorm,
  type LayerRules,
  outputProjection,
  qkNorms,
  qkv,
} from "../trainers/megatron.ts";
import type { OwnArguments } from "../trainers/megatron-args.ts";
import {
  decoderStates,
  expertBias,
  experts,
  furtherLayers,
  furtherStates,
  mixedLayers,
  preExpertsNorm,
  router,
  sharedExperts,
} from "../trainers/megatron-moe.ts";
import type { Glm4MoeConfig } from "./config.ts";

export function megatronRules(c: Glm4MoeConfig): Rule[] {
  return [
    ...embedding(),
    ...mixedLayers(c.nDenseLayers > 0, { attention: attentionOf(c), mixture }),
    finalNorm(),
    ...head(c.tied),
    ...(c.nMtpLayers === 0
      ? unannounced(c)
      : furtherLayers(c, (layer) => [...attentionOf(c)(layer), ...mixture(layer)])),
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

export function emptyEntries(c: Glm4MoeConfig): readonly string[] {
  const kind = { attention: "heads" as const, experts: c.nExperts };
  const dense = Array.from({ length: c.nDenseLayers }, (_, l) => l);
  return [...decoderStates(c.nLayers, dense, kind), ...furtherStates(c.nMtpLayers, kind)];
}

export const ownArguments: OwnArguments = {
  fields: ({ qk_layernorm: norms }) => (typeof norms === "boolean" ? { use_qk_norm: norms } : {}),
};
