// Llama as Meta publishes it: one file per model-parallel rank. Axes as in mapping.ts; rotated channels in pairs.
// ColumnParallelLinear is cut along its rows, RowParallelLinear along its columns.
//   meta-llama/llama-models@a9c89c471f793423afd4cc3ca8671d6e56fe64cb:models/llama3/model.py
//   facebookresearch/fairscale@v0.4.13:fairscale/nn/model_parallel/layers.py
import { transformersFrequencies } from "../../numerics/rope.ts";
import { drop, onRanks, permuteRope, type Ranks, type Rule, rename, tie } from "../../src/table/rule.ts";
import type { Llama3Config } from "./config.ts";
import { isLlama3 } from "./params.ts";

// biome-ignore format: a table
export function metaRules(c: Llama3Config): Rule[] {
  const rows: Ranks = { cut: 0 };
  const columns: Ranks = { cut: 1 };
  const embedding: Ranks = { cut: isLlama3(c) ? [0, 1] : [1, 0] };
  const headRows: Ranks = { cut: 0, unit: c.headDim };
  const headColumns: Ranks = { cut: 1, unit: c.headDim };
  return [
    // ranks                   native                                    Hugging Face                                        dims
    onRanks(embedding,    rename("tok_embeddings.weight",              "model.embed_tokens.weight",                        "v d")),
    onRanks("replicated", rename("layers.{l}.attention_norm.weight",   "model.layers.{l}.input_layernorm.weight",          "d")),
    onRanks(headRows,     permuteRope("layers.{l}.attention.wq.weight", "model.layers.{l}.self_attn.q_proj.weight",        "(n h two) d")),
    onRanks(headRows,     permuteRope("layers.{l}.attention.wk.weight", "model.layers.{l}.self_attn.k_proj.weight",        "(k h two) d")),
    onRanks(headRows,     rename("layers.{l}.attention.wv.weight",     "model.layers.{l}.self_attn.v_proj.weight",         "(k H) d")),
    onRanks(headColumns,  rename("layers.{l}.attention.wo.weight",     "model.layers.{l}.self_attn.o_proj.weight",         "d (n H)")),
    onRanks("replicated", rename("layers.{l}.ffn_norm.weight",         "model.layers.{l}.post_attention_layernorm.weight", "d")),
    onRanks(rows,         rename("layers.{l}.feed_forward.w1.weight",  "model.layers.{l}.mlp.gate_proj.weight",            "f d")),
    onRanks(columns,      rename("layers.{l}.feed_forward.w2.weight",  "model.layers.{l}.mlp.down_proj.weight",            "d f")),
    onRanks(rows,         rename("layers.{l}.feed_forward.w3.weight",  "model.layers.{l}.mlp.up_proj.weight",              "f d")),
    onRanks("replicated", rename("norm.weight",                        "model.norm.weight",                                "d")),
    ...(c.tied
      ? [
          onRanks(rows, tie("native", "output.weight", "tok_embeddings.weight", "tied embeddings", true)),
          tie("hf", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
        ]
      : [onRanks(rows,    rename("output.weight",                      "lm_head.weight",                                   "v d"))]),
    onRanks("replicated", drop("native", "rope.freqs", "derived buffer: θ^(-2i/H)", {
      dims: "h",
      derived: () => transformersFrequencies({ kind: "default", theta: c.rope.theta, dims: c.rope.dims }).invFreq,
    })),
  ];
}
