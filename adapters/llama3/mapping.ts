// Llama 2 and 3. Axes: l layers, v vocabulary, d model, f ffn, n query heads, k key/value heads, r = n/k query heads a
// key head, H channels of a head, h = H/2 rotary pairs.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/llama3/state_dict_adapter.py
//   pytorch/torchtitan@v0.3.0:torchtitan/models/common/attention.py, FusedQKVLinear
//   pytorch/torchtitan@v0.2.2:torchtitan/models/llama3/model/state_dict_adapter.py
//   huggingface/transformers@v5.23.0:src/transformers/models/llama/modeling_llama.py
import { transformersFrequencies } from "../../numerics/rope.ts";
import { drop, map, permuteRope, type Rule, rename, tie } from "../../src/table/rule.ts";
import type { Spelling } from "../trainers/torchtitan.ts";
import type { Llama3Config } from "./config.ts";

export const llama3Axes = (c: Llama3Config) => ({
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
export function llama3Rules(c: Llama3Config, { head, fused, ...spelling }: Spelling): Rule[] {
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
    rename("layers.{l}.ffn_norm.weight",         "model.layers.{l}.post_attention_layernorm.weight",    "d"),
    rename("layers.{l}.feed_forward.w1.weight",  "model.layers.{l}.mlp.gate_proj.weight",               "f d"),
    rename("layers.{l}.feed_forward.w2.weight",  "model.layers.{l}.mlp.down_proj.weight",               "d f"),
    rename("layers.{l}.feed_forward.w3.weight",  "model.layers.{l}.mlp.up_proj.weight",                 "f d"),
    ...(c.mlpBias
      ? [
          rename("layers.{l}.feed_forward.w1.bias", "model.layers.{l}.mlp.gate_proj.bias",              "f"),
          rename("layers.{l}.feed_forward.w2.bias", "model.layers.{l}.mlp.down_proj.bias",              "d"),
          rename("layers.{l}.feed_forward.w3.bias", "model.layers.{l}.mlp.up_proj.bias",                "f"),
        ]
      : []),
    rename("norm.weight",                        "model.norm.weight",                                   "d"),
    ...(c.tied
      ? [
          tie("native", head, "tok_embeddings.weight", "tied embeddings", true),
          tie("hf", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
        ]
      : [rename(head,                            "lm_head.weight",                                      "v d")]),
    drop("native", "freqs_cis", "derived buffer: exp(i·position·θ^(-2j/H))", { dims: "? h" }),
    ...hfBuffers(c),
  ];
}

function splitQkv(attention: Attention, kind: "weight" | "bias", d: string): Rule[] {
  const hf = "model.layers.{l}.self_attn";
  return [
    permuteRope(`${attention}.wq.${kind}`, `${hf}.q_proj.${kind}`, `(n h two)${d}`),
    permuteRope(`${attention}.wk.${kind}`, `${hf}.k_proj.${kind}`, `(k h two)${d}`),
    rename(`${attention}.wv.${kind}`, `${hf}.v_proj.${kind}`, `(k H)${d}`),
  ];
}

/** Rows lie by key head: its r query heads, the key head, its value head. */
function fusedQkv(attention: Attention, kind: "weight" | "bias", d: string): Rule[] {
  const hf = "model.layers.{l}.self_attn";
  return [
    map(
      "groupedQkv",
      { [`${attention}.wqkv.${kind}`]: `(k (q: r h two | k: h two | v: H))${d}` },
      {
        [`${hf}.q_proj.${kind}`]: `q: (k r two h)${d}`,
        [`${hf}.k_proj.${kind}`]: `k: (k two h)${d}`,
        [`${hf}.v_proj.${kind}`]: `v: (k H)${d}`,
      },
    ),
  ];
}

/**
 * Older versions of HF saved these buffers, one per layer, and stopped before they had Llama 3's scaling: so those are never
 * scaled.
 */
export function hfBuffers({ rope }: Llama3Config): Rule[] {
  const { theta, dims } = rope;
  const inLayers = () => transformersFrequencies({ kind: "default", theta, dims }).invFreq;
  const inModel = () => transformersFrequencies(rope).invFreq;
  const reason = "derived buffer: θ^(-2i/H)";
  return [
    drop("hf", "model.layers.{l}.self_attn.rotary_emb.inv_freq", reason, { dims: "h", derived: inLayers }),
    drop("hf", "model.rotary_emb.inv_freq", reason, { dims: "h", derived: inModel }),
  ];
}
