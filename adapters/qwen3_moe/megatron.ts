// Qwen3-MoE under Megatron-Core's names. Axes as in mapping.ts; channels in HF's order. Models of both kinds of layers are
// trained with `moe_layer_freq` as a list, which saves layers one by one.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/{gpt_model,moe_module_specs}.py
import type { Rule } from "../../src/table/rule.ts";
import { inverseFrequencies } from "../common/derived-buffers.ts";
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
import {
  decoderStates,
  experts,
  lostExpertBias,
  mixedLayers,
  preExpertsNorm,
  router,
} from "../trainers/megatron-moe.ts";
import type { Qwen3MoeConfig } from "./config.ts";

export function megatronRules(c: Qwen3MoeConfig): Rule[] {
  const attention: LayerRules = (layer) => [
    inputNorm(layer),
    qkv(layer),
    ...(c.attentionBias
      ? [qkv(layer, "bias"), layer.row("self_attention.linear_proj.bias", "self_attn.o_proj.bias", "d")]
      : []),
    outputProjection(layer),
    ...qkNorms(layer),
  ];
  const mixture: LayerRules = (layer) => [
    ...preExpertsNorm(layer),
    router(layer),
    lostExpertBias(layer),
    ...experts(layer),
  ];
  return [
    ...embedding(),
    ...mixedLayers(c.denseLayers.length > 0, { attention, mixture }),
    finalNorm(),
    ...head(c.tied),
    ...inverseFrequencies(c.rope),
  ];
}

export const emptyEntries = (c: Qwen3MoeConfig): readonly string[] =>
  decoderStates(c.nLayers, c.denseLayers, { attention: "heads", experts: c.nExperts });
