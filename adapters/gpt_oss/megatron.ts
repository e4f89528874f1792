// gpt-oss under Megatron-Core's names. Axes as in mapping.ts. Experts have gate rows, then up rows, where Hugging Face has them
// in turns; matrices are [out, in], as MXFP4 files have them.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/{mlp,dot_product_attention}.py
//   NVIDIA-NeMo/Megatron-Bridge@067f987df03b8355b03192d88d70f1709fedf51a:src/megatron/bridge/models/gpt_oss/gpt_oss_bridge.py
import { critical, type MapRule, map, type Rule, type TermSpec } from "../../src/table/rule.ts";
import { ROUTER } from "../common/critical.ts";
import {
  embedding,
  finalNorm,
  head,
  inputNorm,
  type Layer,
  layers,
  outputProjection,
  qkv,
} from "../trainers/megatron.ts";
import { decoderStates, lostExpertBias, preExpertsNorm, router } from "../trainers/megatron-moe.ts";
import type { GptOssConfig } from "./config.ts";
import { NORM } from "./mapping.ts";

const OWN = "mlp.experts.experts";

export const megatronRules = (c: GptOssConfig): Rule[] => [
  ...embedding(),
  ...layers((layer) => [
    critical(NORM, inputNorm(layer)),
    qkv(layer),
    qkv(layer, "bias"),
    layer.row("self_attention.core_attention.softmax_offset", "self_attn.sinks", "n"),
    outputProjection(layer),
    layer.row("self_attention.linear_proj.bias", "self_attn.o_proj.bias", "d"),
    ...preExpertsNorm(layer).map((rule) => (rule.kind === "map" ? critical(NORM, rule) : rule)),
    router(layer, "mlp.router.weight"),
    critical(ROUTER, layer.row("mlp.router.bias", "mlp.router.bias", "e")),
    lostExpertBias(layer),
    ...experts(layer),
  ]),
  critical(NORM, finalNorm()),
  ...head(c.tied),
];

function experts(layer: Layer): MapRule[] {
  const hf = (name: string, spec: TermSpec) => ({ [layer.hf(`mlp.experts.${name}`)]: spec });
  const turns = hf("gate_up_proj", { dims: "e d (f (gate | up))", encoded: { mxfp4: "e (f (gate | up)) d" } });
  const biasTurns = hf("gate_up_proj_bias", "e (f (gate | up))");
  const down = hf("down_proj", { dims: "e f d", encoded: { mxfp4: "e d f" } });
  const downBias = hf("down_proj_bias", "e d");
  if (layer.isApart) {
    const own = (name: string, dims: string) => layer.term(`${OWN}.{e}.${name}`, dims);
    return [
      map("gateUp", { ...own("linear_fc1.weight_w", "gate: f d"), ...own("linear_fc1.weight_v", "up: f d") }, turns),
      map("gateUp", { ...own("linear_fc1.bias_w", "gate: f"), ...own("linear_fc1.bias_v", "up: f") }, biasTurns),
      map("stackExperts", own("linear_fc2.weight", "d f"), down),
      map("stackExperts", own("linear_fc2.bias", "d"), downBias),
    ];
  }
  return [
    map("gateUp", layer.term(`${OWN}.linear_fc1.weight`, "e (gate: f | up: f) d"), turns),
    map("gateUp", layer.term(`${OWN}.linear_fc1.bias`, "e (gate: f | up: f)"), biasTurns),
    map("reorder", layer.term(`${OWN}.linear_fc2.weight`, "e d f"), down),
    map("rename", layer.term(`${OWN}.linear_fc2.bias`, "e d"), downBias),
  ];
}

export const emptyEntries = (c: GptOssConfig): readonly string[] =>
  decoderStates(c.nLayers, [], { attention: "heads", experts: c.nExperts });
