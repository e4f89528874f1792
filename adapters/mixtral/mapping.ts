// Mixtral: experts stacked in native tensors and single in HF's files, where `w1` is gate, `w3` up and `w2` down.
// transformers 5 holds them stacked at run time, too, and under `mlp` instead of `block_sparse_moe`. Axes: l layers,
// v vocabulary, d model, g ffn of an expert, e experts, n query heads, k key/value heads, r = n/k query heads a key head,
// H channels of a head, h pairs of them.
//   pytorch/torchtitan@v0.3.0:torchtitan/experiments/transformers_modeling_backend/moe_replacement.py
//   huggingface/transformers@v5.23.0:src/transformers/models/mixtral/modeling_mixtral.py
//   huggingface/transformers@v5.23.0:src/transformers/conversion_mapping.py#L1270, "mixtral"
import { concat, critical, inOrder, type MapRule, type Rule, rename, stackExperts } from "../../src/table/rule.ts";
import { ROUTER } from "../common/critical.ts";
import { inverseFrequencies } from "../common/derived-buffers.ts";
import { RUN_TIME } from "../common/stacked-experts.ts";
import { held, heldHead, mixtureKeys, unheldBias } from "../trainers/torchtitan-backend.ts";
import type { MixtralConfig } from "./config.ts";

export const mixtralAxes = (c: MixtralConfig) => ({
  l: c.nLayers,
  v: c.vocabSize,
  d: c.dim,
  g: c.expertDim,
  e: c.nExperts,
  n: c.nHeads,
  k: c.nKvHeads,
  r: c.nHeads / c.nKvHeads,
  H: c.headDim,
  h: c.headDim / 2,
});

/** Of a layer, in the files, and as transformers 5 holds them. */
const FILES = "model.layers.{l}.block_sparse_moe";
const HELD = "model.layers.{l}.mlp";

export const torchtitanRules = (c: MixtralConfig): Rule[] => {
  const keys = mixtureKeys("model.model.layers.{l}.mlp");
  return [
    held("model.embed_tokens.weight", "v d"),
    held("model.layers.{l}.input_layernorm.weight", "d"),
    held("model.layers.{l}.self_attn.q_proj.weight", "(n H) d"),
    held("model.layers.{l}.self_attn.k_proj.weight", "(k H) d"),
    held("model.layers.{l}.self_attn.v_proj.weight", "(k H) d"),
    held("model.layers.{l}.self_attn.o_proj.weight", "d (n H)"),
    held("model.layers.{l}.post_attention_layernorm.weight", "d"),
    ...routerInBothNames(keys.router),
    ...expertsInBothForms(keys),
    unheldBias(keys.bias),
    held("model.norm.weight", "d"),
    ...heldHead(c.tied),
    ...inverseFrequencies(c.rope),
  ];
};

export const routerInBothNames = (native: string): MapRule[] =>
  inOrder(
    RUN_TIME,
    [critical(ROUTER, rename<string, string>(native, `${FILES}.gate.weight`, "e d"))],
    [critical(ROUTER, rename<string, string>(native, `${HELD}.gate.weight`, "e d"))],
  );

/** For a layout that has a tensor for each of the three. */
const expertsInBothForms = ({ w1, w2, w3 }: Readonly<Record<"w1" | "w2" | "w3", string>>): MapRule[] =>
  inOrder(
    RUN_TIME,
    [
      stackExperts<string, string>(w1, `${FILES}.experts.{e}.w1.weight`, "e g d"),
      stackExperts<string, string>(w2, `${FILES}.experts.{e}.w2.weight`, "e d g"),
      stackExperts<string, string>(w3, `${FILES}.experts.{e}.w3.weight`, "e g d"),
    ],
    [
      concat({ gate: w1, up: w3 }, `${HELD}.experts.gate_up_proj`, "e (gate: g | up: g) d"),
      rename<string, string>(w2, `${HELD}.experts.down_proj`, "e d g"),
    ],
  );
