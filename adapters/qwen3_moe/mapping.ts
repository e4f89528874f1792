// Qwen3-MoE: attention as in dense Qwen3, experts stacked in native tensors and single in HF's.
// Axes: l layers, dense and moe the layers of each kind, v vocabulary, d model, f ffn, g ffn of an expert, e experts,
// n query heads, k key/value heads, r = n/k query heads a key head, H channels of a head.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/qwen3/state_dict_adapter.py
//   pytorch/torchtitan@v0.2.2:torchtitan/models/qwen3/model/state_dict_adapter.py
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_moe/modeling_qwen3_moe.py
import { critical, drop, type Rule, rename, split, tie } from "../../src/table/rule.ts";
import { EXPERT_BIAS, ROUTER } from "../common/critical.ts";
import { inverseFrequencies } from "../common/derived-buffers.ts";
import { expertStacks } from "../common/stacked-experts.ts";
import type { Spelling } from "../trainers/torchtitan.ts";
import type { Qwen3MoeConfig } from "./config.ts";

export const qwen3MoeAxes = (c: Qwen3MoeConfig) => ({
  l: c.nLayers,
  dense: c.denseLayers,
  moe: Array.from({ length: c.nLayers }, (_, i) => i).filter((i) => !c.denseLayers.includes(i)),
  v: c.vocabSize,
  d: c.dim,
  f: c.ffnDim,
  g: c.expertDim,
  e: c.nExperts,
  n: c.nHeads,
  k: c.nKvHeads,
  r: c.nHeads / c.nKvHeads,
  H: c.headDim,
  h: c.headDim / 2,
});

// biome-ignore format: a table
export function qwen3MoeRules(c: Qwen3MoeConfig, spelling: Spelling): Rule[] {
  const { head } = spelling;
  const attention = `layers.{l}.${spelling.qkv}`;
  const qkv = spelling.fused ? fusedQkv : splitQkv;
  return [
    // native                                       Hugging Face                                           dims
    rename("tok_embeddings.weight",                 "model.embed_tokens.weight",                           "v d"),
    rename("layers.{l}.attention_norm.weight",      "model.layers.{l}.input_layernorm.weight",             "d"),
    ...qkv(attention, "weight", " d"),
    ...(c.attentionBias ? qkv(attention, "bias", "") : []),
    rename("layers.{l}.attention.wo.weight",        "model.layers.{l}.self_attn.o_proj.weight",            "d (n H)"),
    ...(c.attentionBias
      ? [rename("layers.{l}.attention.wo.bias",     "model.layers.{l}.self_attn.o_proj.bias",              "d")]
      : []),
    rename("layers.{l}.attention.q_norm.weight",    "model.layers.{l}.self_attn.q_norm.weight",            "H"),
    rename("layers.{l}.attention.k_norm.weight",    "model.layers.{l}.self_attn.k_norm.weight",            "H"),
    rename("layers.{l}.ffn_norm.weight",            "model.layers.{l}.post_attention_layernorm.weight",    "d"),
    ...(c.denseLayers.length > 0 ? feedForward : []),
    ...(c.denseLayers.length < c.nLayers ? experts(spelling) : []),
    rename("norm.weight",                           "model.norm.weight",                                   "d"),
    ...(c.tied
      ? [
          tie("native", head, "tok_embeddings.weight", "tied embeddings", true),
          tie("hf", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
        ]
      : [rename(head,                               "lm_head.weight",                                      "v d")]),
    ...inverseFrequencies(c.rope),
  ];
}

// biome-ignore format: a table
const feedForward: readonly Rule[] = [
  rename("layers.{dense}.feed_forward.w1.weight", "model.layers.{dense}.mlp.gate_proj.weight",           "f d"),
  rename("layers.{dense}.feed_forward.w2.weight", "model.layers.{dense}.mlp.down_proj.weight",           "d f"),
  rename("layers.{dense}.feed_forward.w3.weight", "model.layers.{dense}.mlp.up_proj.weight",             "f d"),
];

// biome-ignore format: a table
function experts({ expert, expertBias }: Spelling): Rule[] {
  const stack = (name: string, axes: string) => `layers.{moe}.moe.${expert(name, axes)}`;
  return [
    critical(ROUTER,
      rename("layers.{moe}.moe.router.gate.weight", "model.layers.{moe}.mlp.gate.weight",                  "e d")),
    ...expertStacks({ w1: stack("w1", "EFD"), w2: stack("w2", "EDF"), w3: stack("w3", "EFD") }, "model.layers.{moe}.mlp.experts"),
    critical(EXPERT_BIAS,
      drop("native", `layers.{moe}.moe.${expertBias}`,"load-balancing bias, which HF has no place for",    { dims: "e", recreate: 0 })),
  ];
}

function splitQkv(attention: string, kind: "weight" | "bias", d: string): Rule[] {
  const hf: string = "model.layers.{l}.self_attn";
  return [
    rename(`${attention}.wq.${kind}`, `${hf}.q_proj.${kind}`, `(n H)${d}`),
    rename(`${attention}.wk.${kind}`, `${hf}.k_proj.${kind}`, `(k H)${d}`),
    rename(`${attention}.wv.${kind}`, `${hf}.v_proj.${kind}`, `(k H)${d}`),
  ];
}

/** Rows lie by key head: its r query heads, the key head, its value head. */
function fusedQkv(attention: string, kind: "weight" | "bias", d: string): Rule[] {
  const hf: string = "model.layers.{l}.self_attn";
  const parts = { q: `${hf}.q_proj.${kind}`, k: `${hf}.k_proj.${kind}`, v: `${hf}.v_proj.${kind}` };
  return [split(`${attention}.wqkv.${kind}`, parts, `(k (q: r H | k: H | v: H))${d}`)];
}
