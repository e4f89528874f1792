// GLM-4.5 to GLM-4.7: grouped-query attention whose q, k and v may have biases and norms, dense layers first, then layers with
// experts, some of them shared. Axes: l layers, dense and moe the layers of each kind, m MTP layers (HF numbers them on
// from L = l), v vocabulary, d model, x two of them side by side, f ffn, n query heads, k key/value heads, r = n/k query
// heads a key head, H channels of a head, h pairs of its rotated ones, e experts, g ffn of an expert, s of the shared ones.
//   pytorch/torchtitan@v0.3.0:torchtitan/experiments/transformers_modeling_backend/moe_replacement.py
//   huggingface/transformers@v5.23.0:src/transformers/models/glm4_moe/modeling_glm4_moe.py
import { critical, drop, type Rule, refuse, rename } from "../../src/table/rule.ts";
import { EXPERT_BIAS } from "../common/critical.ts";
import { inverseFrequencies } from "../common/derived-buffers.ts";
import { expertStacks } from "../common/stacked-experts.ts";
import { held, heldHead, heldRouter, mixtureKeys } from "../trainers/torchtitan-backend.ts";
import type { Glm4MoeConfig } from "./config.ts";

export const glm4MoeAxes = (c: Glm4MoeConfig) => ({
  l: c.nLayers,
  L: c.nLayers,
  dense: Array.from({ length: Math.min(c.nDenseLayers, c.nLayers) }, (_, i) => i),
  moe: Array.from({ length: Math.max(c.nLayers - c.nDenseLayers, 0) }, (_, i) => i + c.nDenseLayers),
  m: c.nMtpLayers,
  v: c.vocabSize,
  d: c.dim,
  x: 2 * c.dim,
  f: c.ffnDim,
  n: c.nHeads,
  k: c.nKvHeads,
  r: c.nHeads / c.nKvHeads,
  H: c.headDim,
  h: c.rope.dims / 2,
  e: c.nExperts,
  g: c.expertDim,
  s: c.expertDim * c.nSharedExperts,
});

// biome-ignore format: a table
export function torchtitanRules(c: Glm4MoeConfig): Rule[] {
  const layer = "model.layers.{l}";
  const attention = `${layer}.self_attn`;
  const dense = "model.layers.{dense}.mlp";
  return [
    held("model.embed_tokens.weight",                  "v d"),
    held(`${layer}.input_layernorm.weight`,            "d"),
    held(`${attention}.q_proj.weight`,                 "(n H) d"),
    held(`${attention}.k_proj.weight`,                 "(k H) d"),
    held(`${attention}.v_proj.weight`,                 "(k H) d"),
    ...(c.attentionBias ? unheldBiases(attention) : []),
    held(`${attention}.o_proj.weight`,                 "d (n H)"),
    ...(c.qkNorm
      ? [held(`${attention}.q_norm.weight`, "H"), held(`${attention}.k_norm.weight`, "H")]
      : []),
    held(`${layer}.post_attention_layernorm.weight`,   "d"),
    ...(c.nDenseLayers > 0
      ? [held(`${dense}.gate_proj.weight`, "f d"), held(`${dense}.up_proj.weight`, "f d"), held(`${dense}.down_proj.weight`, "d f")]
      : []),
    ...(c.nDenseLayers < c.nLayers ? experts : []),
    held("model.norm.weight",                          "d"),
    ...heldHead(c.tied),
    ...Array.from({ length: Math.max(c.nMtpLayers, 1) }, (_, m) => unheldMtp(c, c.nLayers + m)),
    ...inverseFrequencies(c.rope),
  ];
}

/** Layouts with a place for what torchtitan's model lacks. */
const ELSEWHERE = "--to megatron or --to vllm keeps them";

/** It builds the model without biases, whatever the config says, which is one whose biases are zero. */
const unheldBiases = (attention: string): Rule[] =>
  [["q", "(n H)"] as const, ["k", "(k H)"] as const, ["v", "(k H)"] as const].map(([name, dims]) =>
    drop(
      "hf",
      `${attention}.${name}_proj.bias`,
      "torchtitan's transformers backend sets attention_bias to false: its model has no place for it",
      { dims, recreate: 0, help: `${ELSEWHERE}; if their values may be lost, --allow-drop '*_proj.bias'` },
    ),
  );

const unheldMtp = (c: Glm4MoeConfig, l: number): Rule =>
  refuse("hf", `model.layers.${l}.{key}`, {
    reason:
      c.nMtpLayers === 0
        ? "belongs to a layer that predicts further tokens, and the config announces none: num_nextn_predict_layers is 0"
        : "belongs to a layer that predicts further tokens, which torchtitan's transformers backend has no place for",
    help: `${c.nMtpLayers === 0 ? "" : `${ELSEWHERE}; or `}convert without it: --allow-drop 'model.layers.${l}.*'`,
  });

const native = mixtureKeys("model.model.layers.{moe}.mlp");
const shared = "mlp.shared_experts";

// biome-ignore format: a table
const experts: readonly Rule[] = [
  heldRouter(native.router,                                    "model.layers.{moe}.mlp.gate.weight"),
  critical(EXPERT_BIAS,
    rename<string, string>(native.bias,                                    "model.layers.{moe}.mlp.gate.e_score_correction_bias", "e")),
  ...expertStacks(native, "model.layers.{moe}.mlp.experts"),
  rename(`model.model.layers.{moe}.${shared}.w1.weight`,       `model.layers.{moe}.${shared}.gate_proj.weight`, "s d"),
  rename(`model.model.layers.{moe}.${shared}.w2.weight`,       `model.layers.{moe}.${shared}.down_proj.weight`, "d s"),
  rename(`model.model.layers.{moe}.${shared}.w3.weight`,       `model.layers.{moe}.${shared}.up_proj.weight`,   "s d"),
];
