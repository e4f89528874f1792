// Qwen3-VL as Megatron Bridge saves it: Qwen3's decoder, dense or with experts, and a vision tower with DeepStack mergers. Axes as
// in mapping.ts; channels in HF's order.
//   NVIDIA-NeMo/Megatron-Bridge@067f987df:src/megatron/bridge/models/qwen_vl/qwen3_vl_bridge.py
import { type MapRule, map, type Rule } from "../../src/table/rule.ts";
import {
  embedding,
  extraStates,
  finalNorm,
  gatedMlp,
  head,
  inputNorm,
  type Layer,
  type LayerRules,
  layers,
  outputProjection,
  preMlpNorm,
  qkNorms,
  qkv,
} from "../trainers/megatron.ts";
import { decoderStates, lostExpertBias, mixedLayers, router } from "../trainers/megatron-moe.ts";
import { bridgeModel, bridgeStates } from "../trainers/megatron-vision.ts";
import type { Qwen3VlConfig } from "./config.ts";

export function megatronRules(c: Qwen3VlConfig): Rule[] {
  const attention: LayerRules = (layer) => [
    inputNorm(layer),
    qkv(layer),
    ...(c.attentionBias
      ? [qkv(layer, "bias"), layer.row("self_attention.linear_proj.bias", "self_attn.o_proj.bias", "d")]
      : []),
    outputProjection(layer),
    ...qkNorms(layer),
  ];
  const dense: LayerRules = (layer) => [preMlpNorm(layer), ...gatedMlp(layer, "mlp", "mlp", "f")];
  const hasDense = c.moe !== null && c.moe.denseLayers.length > 0;
  const decoder =
    c.moe === null
      ? layers((layer) => [...attention(layer), ...dense(layer)])
      : mixedLayers(hasDense, { attention, mixture });
  return bridgeModel({
    language: [...embedding(), ...decoder, finalNorm(), ...head(c.tied)],
    unlike: hasDense,
    tower: { patches: "s", mergers: c.vision.deepstackBlocks.length > 0 ? "m" : undefined },
  });
}

/** The Bridge builds it of Transformer Engine's modules alone, which have one name for the norm before experts. */
const mixture: LayerRules = (layer) => [
  layer.row("pre_mlp_layernorm.weight", "post_attention_layernorm.weight", "d", ["mlp.linear_fc1.layer_norm_weight"]),
  router(layer),
  lostExpertBias(layer),
  ...experts(layer),
];

/** The Hub's files hold each matrix [in, out], files that transformers 5 saved [out, in], as Megatron-Core does: see mapping.ts. */
function experts(layer: Layer): MapRule[] {
  const own = "mlp.experts.experts";
  const gateUp = {
    [layer.hf("mlp.experts.gate_up_proj")]: {
      dims: "e d (gate: g | up: g)",
      orders: { "transformers-5": "e (gate: g | up: g) d" },
    },
  };
  const down = { [layer.hf("mlp.experts.down_proj")]: { dims: "e g d", orders: { "transformers-5": "e d g" } } };
  if (layer.isApart) {
    const one = (name: string, dims: string) => layer.term(`${own}.{e}.${name}`, dims);
    return [
      map("gateUp", { ...one("linear_fc1.weight_w", "gate: g d"), ...one("linear_fc1.weight_v", "up: g d") }, gateUp),
      map("down", one("linear_fc2.weight", "d g"), down),
    ];
  }
  return [
    map("gateUp", layer.term(`${own}.linear_fc1.weight`, "e (gate: g | up: g) d"), gateUp),
    map("down", layer.term(`${own}.linear_fc2.weight`, "e d g"), down),
  ];
}

export function emptyEntries(c: Qwen3VlConfig): readonly string[] {
  const language =
    c.moe === null
      ? extraStates(c.nLayers)
      : decoderStates(c.nLayers, c.moe.denseLayers, { attention: "heads", experts: c.moe.nExperts });
  return bridgeStates(language, { nBlocks: c.vision.nBlocks, nMergers: c.vision.deepstackBlocks.length });
}
