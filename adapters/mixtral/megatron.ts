// Mixtral under Megatron-Core's names. Axes as in mapping.ts; channels in HF's order.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/models/gpt/{gpt_model,moe_module_specs}.py
import { critical, inOrder, type Rule } from "../../src/table/rule.ts";
import { ROUTER } from "../common/critical.ts";
import { inverseFrequencies } from "../common/derived-buffers.ts";
import { RUN_TIME } from "../common/stacked-experts.ts";
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
import { decoderStates, experts, lostExpertBias, preExpertsNorm } from "../trainers/megatron-moe.ts";
import type { MixtralConfig } from "./config.ts";

export const megatronRules = (c: MixtralConfig): Rule[] => [
  ...embedding(),
  ...layers((layer) => [
    inputNorm(layer),
    qkv(layer),
    outputProjection(layer),
    ...preExpertsNorm(layer),
    ...routers(layer),
    lostExpertBias(layer),
    ...experts(layer, { files: "block_sparse_moe.experts", gate: "w1", up: "w3", down: "w2" }),
  ]),
  finalNorm(),
  ...head(c.tied),
  ...inverseFrequencies(c.rope),
];

const routers = (layer: Layer) =>
  inOrder(
    RUN_TIME,
    [critical(ROUTER, layer.row("mlp.router.weight", "block_sparse_moe.gate.weight", "e d"))],
    [critical(ROUTER, layer.row("mlp.router.weight", "mlp.gate.weight", "e d"))],
  );

export const emptyEntries = (c: MixtralConfig): readonly string[] =>
  decoderStates(c.nLayers, [], { attention: "heads", experts: c.nExperts });
