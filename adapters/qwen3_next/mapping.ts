// Qwen3-Next: gated delta nets with gated attention between them, and experts beside a gated shared one.
// Axes: l layers, full and delta the layers of each kind of attention, dense and moe those of each kind of feed-forward, v
// vocabulary, d model, f ffn, g ffn of an expert, y of the shared one, e experts, n query heads, k key/value heads,
// r = n/k query heads a key head, H channels of a head. Of a delta net: j key heads, w value heads, R = w/j
// of them a key head, K and V channels of each, s tokens of the convolution.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_next/modeling_qwen3_next.py
//   pytorch/torchtitan@v0.3.0:torchtitan/experiments/transformers_modeling_backend/moe_replacement.py
import { critical, type Dims, type MapRule, type Rule, refuse } from "../../src/table/rule.ts";
import { DECAY, STATE_NORM } from "../common/critical.ts";
import { deltaAxes, range, secondAxes } from "../common/gated-delta/config.ts";
import type { Qwen3NextConfig } from "./config.ts";

export const qwen3NextAxes = (c: Qwen3NextConfig) => ({
  l: c.nLayers,
  full: c.fullLayers,
  delta: range(c.nLayers).filter((layer) => !c.fullLayers.includes(layer)),
  dense: c.denseLayers,
  moe: range(c.nLayers).filter((layer) => !c.denseLayers.includes(layer)),
  v: c.vocabSize,
  d: c.dim,
  f: c.ffnDim,
  g: c.expertDim,
  y: c.sharedDim,
  e: c.nExperts,
  n: c.nHeads,
  k: c.nKvHeads,
  r: c.nHeads / c.nKvHeads,
  H: c.headDim,
  R: c.delta.nValueHeads / c.delta.nKeyHeads,
  ...deltaAxes(c.delta),
  ...secondAxes(c.dim),
});

/** transformers skips these keys, too: `_keys_to_ignore_on_load_unexpected`. */
export const withoutMtp = refuse("hf", "mtp.{key}", {
  reason: "belongs to the head that predicts a second token, which this layout has no place for",
  help: "--allow-drop 'mtp.*' converts the model without that head; --to megatron keeps it",
});

/** How a layout that holds transformers' own modules names a tensor of them. */
type Same = (key: string, dims: Dims) => MapRule;

/** What such a layout has as it is, beside projections of attention and feed-forward. */
// biome-ignore format: a table
export const heldAsTheyAre = (c: Qwen3NextConfig, same: Same): Rule[] => [
  same("model.embed_tokens.weight",                                  "v d"),
  same("model.layers.{l}.input_layernorm.weight",                    "d"),
  ...(c.fullLayers.length < c.nLayers ? deltaNet(same) : []),
  ...(c.fullLayers.length > 0
    ? [
        same("model.layers.{full}.self_attn.o_proj.weight",          "d (n H)"),
        same("model.layers.{full}.self_attn.q_norm.weight",          "H"),
        same("model.layers.{full}.self_attn.k_norm.weight",          "H"),
      ]
    : []),
  same("model.layers.{l}.post_attention_layernorm.weight",           "d"),
];

/** Rows by key head: its query, its key, its values, their gates; their betas, their alphas. */
// biome-ignore format: a table
function deltaNet(same: Same): Rule[] {
  const net = "model.layers.{delta}.linear_attn";
  return [
    same(`${net}.in_proj_qkvz.weight`,  "(j (query: K | key: K | value: R V | z: R V)) d"),
    same(`${net}.in_proj_ba.weight`,    "(j (beta: R | alpha: R)) d"),
    same(`${net}.conv1d.weight`,        "(query: j K | key: j K | value: w V) one s"),
    critical(DECAY,
      same(`${net}.A_log`,              "w")),
    same(`${net}.dt_bias`,              "w"),
    critical(STATE_NORM,
      same(`${net}.norm.weight`,        "V")),
    same(`${net}.out_proj.weight`,      "d (w V)"),
  ];
}
