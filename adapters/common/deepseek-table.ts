// Table of the DeepSeek-V3 decoder, which is also Kimi's text model: latent attention; dense layers first, then layers
// with experts. Channels have the same order on both sides. Axes: l layers, dense and moe the layers of each kind, m
// MTP layers (HF numbers them on from L = l), v vocabulary, d model, x two of them side by side, f ffn, n heads, c
// query latent, z key/value latent, Q channels of a query head, V of a value head, B of a key head (those without a
// position) and a value head, A of the key/value latent and the one rotated key, e experts, g ffn of an expert, s of
// the shared ones.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/deepseek_v3/state_dict_adapter.py
//   pytorch/torchtitan@v0.2.2:torchtitan/models/deepseek_v3/model/state_dict_adapter.py
//   huggingface/transformers@v5.23.0:src/transformers/models/deepseek_v3/modeling_deepseek_v3.py
import { critical, type MapRule, type Rule, rename, tie } from "../../src/table/rule.ts";
import type { Spelling } from "../trainers/torchtitan.ts";
import { EXPERT_BIAS, ROUTER } from "./critical.ts";
import type { DeepseekV3Config } from "./deepseek-decoder.ts";
import { expertStacks } from "./stacked-experts.ts";

export const decoderAxes = (c: DeepseekV3Config) => ({
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
  ...(c.qLoraRank === null ? {} : { c: c.qLoraRank }),
  z: c.kvLoraRank,
  Q: c.nopeDim + c.ropeDim,
  A: c.kvLoraRank + c.ropeDim,
  B: c.nopeDim + c.valueDim,
  V: c.valueDim,
  e: c.nExperts,
  g: c.expertDim,
  s: c.expertDim * c.nSharedExperts,
});

// biome-ignore format: a table
export function decoderRules(c: DeepseekV3Config, spelling: Spelling): Rule[] {
  const { head } = spelling;
  return [
    // native                                       Hugging Face                                         dims
    rename("tok_embeddings.weight",                 "model.embed_tokens.weight",                         "v d"),
    ...decoderAttention(c, "layers.{l}", "model.layers.{l}"),
    rename("layers.{dense}.feed_forward.w1.weight", "model.layers.{dense}.mlp.gate_proj.weight",         "f d"),
    rename("layers.{dense}.feed_forward.w2.weight", "model.layers.{dense}.mlp.down_proj.weight",         "d f"),
    rename("layers.{dense}.feed_forward.w3.weight", "model.layers.{dense}.mlp.up_proj.weight",           "f d"),
    ...decoderExperts(spelling, "layers.{moe}", "model.layers.{moe}"),
    rename("norm.weight",                           "model.norm.weight",                                 "d"),
    ...(c.tied
      ? [
          tie("native", head, "tok_embeddings.weight", "tied embeddings", true),
          tie("hf", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
        ]
      : [rename(head,                               "lm_head.weight",                                    "v d")]),
  ];
}

// biome-ignore format: a table
export function decoderAttention(c: DeepseekV3Config, native: string, hf: string): MapRule[] {
  return [
    rename(`${native}.attention_norm.weight`,       `${hf}.input_layernorm.weight`,                      "d"),
    ...(c.qLoraRank === null
      ? [rename(`${native}.attention.wq.weight`,    `${hf}.self_attn.q_proj.weight`,                     "(n Q) d")]
      : [
          rename(`${native}.attention.wq_a.weight`,   `${hf}.self_attn.q_a_proj.weight`,                 "c d"),
          rename(`${native}.attention.q_norm.weight`, `${hf}.self_attn.q_a_layernorm.weight`,            "c"),
          rename(`${native}.attention.wq_b.weight`,   `${hf}.self_attn.q_b_proj.weight`,                 "(n Q) c"),
        ]),
    rename(`${native}.attention.wkv_a.weight`,      `${hf}.self_attn.kv_a_proj_with_mqa.weight`,         "A d"),
    rename(`${native}.attention.kv_norm.weight`,    `${hf}.self_attn.kv_a_layernorm.weight`,             "z"),
    rename(`${native}.attention.wkv_b.weight`,      `${hf}.self_attn.kv_b_proj.weight`,                  "(n B) z"),
    rename(`${native}.attention.wo.weight`,         `${hf}.self_attn.o_proj.weight`,                     "d (n V)"),
    rename(`${native}.ffn_norm.weight`,             `${hf}.post_attention_layernorm.weight`,             "d"),
  ];
}

// biome-ignore format: a table
export function decoderExperts({ expert, expertBias }: Spelling, native: string, hf: string): MapRule[] {
  const moe = `${native}.moe`;
  const stack = (name: string, axes: string) => `${moe}.${expert(name, axes)}`;
  return [
    critical(ROUTER,
      rename(`${moe}.router.gate.weight`,           `${hf}.mlp.gate.weight`,                               "e d")),
    critical(EXPERT_BIAS,
      rename(`${moe}.${expertBias}`,                `${hf}.mlp.gate.e_score_correction_bias`,              "e")),
    ...expertStacks({ w1: stack("w1", "EFD"), w2: stack("w2", "EDF"), w3: stack("w3", "EFD") }, `${hf}.mlp.experts`),
    rename(`${moe}.shared_experts.w1.weight`,       `${hf}.mlp.shared_experts.gate_proj.weight`,           "s d"),
    rename(`${moe}.shared_experts.w2.weight`,       `${hf}.mlp.shared_experts.down_proj.weight`,           "d s"),
    rename(`${moe}.shared_experts.w3.weight`,       `${hf}.mlp.shared_experts.up_proj.weight`,             "s d"),
  ];
}
