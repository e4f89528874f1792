// Dense Qwen3: as Llama, with norms of single query and key heads, and channels in HF's order on both sides.
// Axes: l layers, v vocabulary, d model, f ffn, n query heads, k key/value heads, r = n/k query heads a key head,
// H channels of a head, h rotary pairs.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/qwen3/state_dict_adapter.py
//   pytorch/torchtitan@v0.3.0:torchtitan/models/common/attention.py, FusedQKVLinear
//   pytorch/torchtitan@v0.2.2:torchtitan/models/qwen3/model/state_dict_adapter.py
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3/modeling_qwen3.py
import { drop, type Rule, rename, split, tie } from "../../src/table/rule.ts";
import { inverseFrequencies } from "../common/derived-buffers.ts";
import type { Spelling } from "../trainers/torchtitan.ts";
import type { Qwen3Config } from "./config.ts";

export const qwen3Axes = (c: Qwen3Config) => ({
  l: c.nLayers,
  v: c.vocabSize,
  d: c.dim,
  f: c.ffnDim,
  n: c.nHeads,
  k: c.nKvHeads,
  r: c.nHeads / c.nKvHeads,
  H: c.headDim,
  h: c.headDim / 2,
});

/** Where q, k and v stand in a native block. */
type Attention = "layers.{l}.attention" | "layers.{l}.attention.qkv_linear";

// biome-ignore format: a table
export function qwen3Rules(c: Qwen3Config, { head, fused, ...spelling }: Spelling): Rule[] {
  const qkv = fused ? fusedQkv : splitQkv;
  const attention = `layers.{l}.${spelling.qkv}` as const;
  return [
    // native                                    Hugging Face                                           dims
    rename("tok_embeddings.weight",              "model.embed_tokens.weight",                           "v d"),
    rename("layers.{l}.attention_norm.weight",   "model.layers.{l}.input_layernorm.weight",             "d"),
    ...qkv(attention, "weight", " d"),
    ...(c.attentionBias ? qkv(attention, "bias", "") : []),
    rename("layers.{l}.attention.wo.weight",     "model.layers.{l}.self_attn.o_proj.weight",            "d (n H)"),
    ...(c.attentionBias
      ? [rename("layers.{l}.attention.wo.bias",  "model.layers.{l}.self_attn.o_proj.bias",              "d")]
      : []),
    rename("layers.{l}.attention.q_norm.weight", "model.layers.{l}.self_attn.q_norm.weight",            "H"),
    rename("layers.{l}.attention.k_norm.weight", "model.layers.{l}.self_attn.k_norm.weight",            "H"),
    rename("layers.{l}.ffn_norm.weight",         "model.layers.{l}.post_attention_layernorm.weight",    "d"),
    rename("layers.{l}.feed_forward.w1.weight",  "model.layers.{l}.mlp.gate_proj.weight",               "f d"),
    rename("layers.{l}.feed_forward.w2.weight",  "model.layers.{l}.mlp.down_proj.weight",               "d f"),
    rename("layers.{l}.feed_forward.w3.weight",  "model.layers.{l}.mlp.up_proj.weight",                 "f d"),
    rename("norm.weight",                        "model.norm.weight",                                   "d"),
    ...(c.tied
      ? [
          tie("native", head, "tok_embeddings.weight", "tied embeddings", true),
          tie("hf", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
        ]
      : [rename(head,                            "lm_head.weight",                                      "v d")]),
    drop("native", "rope_cache", "derived buffer: cos and sin of position·θ^(-2i/H)", { dims: "? (two H)" }),
    ...inverseFrequencies(c.rope),
  ];
}

function splitQkv(attention: Attention, kind: "weight" | "bias", d: string): Rule[] {
  const hf = "model.layers.{l}.self_attn";
  return [
    rename(`${attention}.wq.${kind}`, `${hf}.q_proj.${kind}`, `(n H)${d}`),
    rename(`${attention}.wk.${kind}`, `${hf}.k_proj.${kind}`, `(k H)${d}`),
    rename(`${attention}.wv.${kind}`, `${hf}.v_proj.${kind}`, `(k H)${d}`),
  ];
}

/** Rows lie by key head: its r query heads, the key head, its value head. */
function fusedQkv(attention: Attention, kind: "weight" | "bias", d: string): Rule[] {
  const hf = "model.layers.{l}.self_attn";
  const parts = { q: `${hf}.q_proj.${kind}`, k: `${hf}.k_proj.${kind}`, v: `${hf}.v_proj.${kind}` };
  return [split(`${attention}.wqkv.${kind}`, parts, `(k (q: r H | k: H | v: H))${d}`)];
}
