// Qwen3-Next as Megatron-Core saves it. Axes as in mapping.ts; m the layers that predict a second token.
//   NVIDIA-NeMo/Megatron-Bridge@067f987df:src/megatron/bridge/models/qwen/qwen3_next_bridge.py
import { inCanonicalOrder, type MapRule, map, type Rule } from "../../src/table/rule.ts";
import {
  deltaNet,
  gatedAttention,
  gatedDeltaStates,
  gatedMixture,
  inParts,
  SECOND,
  secondToken,
} from "../common/gated-delta/megatron.ts";
import {
  embedding,
  finalNorm,
  gatedMlp,
  head,
  type Layer,
  layers,
  preMlpNorm,
  singleLayers,
} from "../trainers/megatron.ts";
import { experts } from "../trainers/megatron-moe.ts";
import type { Qwen3NextConfig } from "./config.ts";

export const megatronRules = (c: Qwen3NextConfig): Rule[] => [
  ...embedding(),
  ...layers(
    (layer) => [
      ...(c.fullLayers.length < c.nLayers ? deltaNet(layer.over("delta"), projections(layer.over("delta"))) : []),
      ...(c.fullLayers.length > 0 ? gatedAttention(layer.over("full")) : []),
      ...(c.denseLayers.length > 0
        ? [preMlpNorm(layer.over("dense")), ...gatedMlp(layer.over("dense"), "mlp", "mlp", "f")]
        : []),
      ...(c.denseLayers.length < c.nLayers ? mixture(layer.over("moe")) : []),
    ],
    { unlike: true },
  ),
  finalNorm(),
  ...head(c.tied),
  // Configs do not announce this head.
  ...singleLayers((layer) => [secondToken([...gatedAttention(layer), ...inCanonicalOrder(mixture(layer))])], SECOND),
];

const mixture = (layer: Layer): MapRule[] => gatedMixture(layer, experts(layer));

/** Rows by key head in Hugging Face's files. */
const projections = (layer: Layer): MapRule[] => [
  map(
    "deltaProjection",
    inParts(layer, "in_proj", { query: "(j K) d", key: "(j K) d", value: "(j R V) d", z: "(j R V) d" }),
    { [layer.hf("linear_attn.in_proj_qkvz.weight")]: "(j (query: K | key: K | value: R V | z: R V)) d" },
  ),
  map("deltaGates", inParts(layer, "in_proj", { beta: "(j R) d", alpha: "(j R) d" }), {
    [layer.hf("linear_attn.in_proj_ba.weight")]: "(j (beta: R | alpha: R)) d",
  }),
];

export const emptyEntries = (c: Qwen3NextConfig): readonly string[] =>
  gatedDeltaStates(c, (layer) => (c.denseLayers.includes(layer) ? 0 : c.nExperts));
