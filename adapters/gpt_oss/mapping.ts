// gpt-oss: attention with biases and one sink per head; experts whose gate and up rows are interleaved on both sides.
// Axes: l layers, v vocabulary, d model, n query heads, k key/value heads, r = n/k, H channels of a head, e experts, f ffn of an
// expert, g its gate and up rows.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/gpt_oss/{moe,state_dict_adapter}.py
//   pytorch/torchtitan@v0.2.2:torchtitan/models/gpt_oss/model/state_dict_adapter.py
//   huggingface/transformers@v5.23.0:src/transformers/models/gpt_oss/modeling_gpt_oss.py
import { critical, drop, map, type Rule, rename, tie } from "../../src/table/rule.ts";
import { EXPERT_BIAS, ROUTER } from "../common/critical.ts";
import type { Spelling } from "../trainers/torchtitan.ts";
import type { GptOssConfig } from "./config.ts";

export const gptOssAxes = (c: GptOssConfig) => ({
  l: c.nLayers,
  v: c.vocabSize,
  d: c.dim,
  n: c.nHeads,
  k: c.nKvHeads,
  r: c.nHeads / c.nKvHeads,
  H: c.headDim,
  e: c.nExperts,
  f: c.expertDim,
  g: 2 * c.expertDim,
});

/** `_keep_in_fp32_modules` of huggingface/transformers@v5.23.0:src/transformers/models/gpt_oss/modeling_gpt_oss.py#L389 */
export const NORM = "transformers keeps the norms of this family in F32";

// biome-ignore format: a table
export function gptOssRules(c: GptOssConfig, { head, expert, expertBias, ...spelling }: Spelling): Rule[] {
  const qkv = `layers.{l}.${spelling.qkv}` as const;
  const native = (name: string, axes: string) => `layers.{l}.moe.${expert(name, axes)}`;
  const hf: string = "model.layers.{l}.mlp.experts";
  return [
    // native                                    Hugging Face                                       dims
    rename("tok_embeddings.weight",              "model.embed_tokens.weight",                       "v d"),
    critical(NORM,
      rename("layers.{l}.attention_norm.weight", "model.layers.{l}.input_layernorm.weight",         "d")),
    rename(`${qkv}.wq.weight`,                   "model.layers.{l}.self_attn.q_proj.weight",        "(n H) d"),
    rename(`${qkv}.wq.bias`,                     "model.layers.{l}.self_attn.q_proj.bias",          "(n H)"),
    rename(`${qkv}.wk.weight`,                   "model.layers.{l}.self_attn.k_proj.weight",        "(k H) d"),
    rename(`${qkv}.wk.bias`,                     "model.layers.{l}.self_attn.k_proj.bias",          "(k H)"),
    rename(`${qkv}.wv.weight`,                   "model.layers.{l}.self_attn.v_proj.weight",        "(k H) d"),
    rename(`${qkv}.wv.bias`,                     "model.layers.{l}.self_attn.v_proj.bias",          "(k H)"),
    rename("layers.{l}.attention.sinks",         "model.layers.{l}.self_attn.sinks",                "n"),
    rename("layers.{l}.attention.wo.weight",     "model.layers.{l}.self_attn.o_proj.weight",        "d (n H)"),
    rename("layers.{l}.attention.wo.bias",       "model.layers.{l}.self_attn.o_proj.bias",          "d"),
    critical(NORM,
      rename("layers.{l}.ffn_norm.weight",       "model.layers.{l}.post_attention_layernorm.weight", "d")),
    critical(ROUTER,
      rename("layers.{l}.moe.router.gate.weight", "model.layers.{l}.mlp.router.weight",             "e d")),
    critical(ROUTER,
      rename("layers.{l}.moe.router.gate.bias",  "model.layers.{l}.mlp.router.bias",                "e")),
    // MXFP4 files store a matrix [out, in].
    map("reorder", { [native("mlp1_weight", "EGD")]: "e g d" }, { [`${hf}.gate_up_proj`]: { dims: "e d g", encoded: { mxfp4: "e g d" } } }),
    rename(native("mlp1_bias", "EG"),            `${hf}.gate_up_proj_bias`,                         "e g"),
    map("reorder", { [native("mlp2_weight", "EDF")]: "e d f" }, { [`${hf}.down_proj`]: { dims: "e f d", encoded: { mxfp4: "e d f" } } }),
    rename(native("mlp2_bias", "ED"),            `${hf}.down_proj_bias`,                            "e d"),
    critical(EXPERT_BIAS,
      drop("native", `layers.{l}.moe.${expertBias}`, "load-balancing bias, which HF has no place for", { dims: "e", recreate: 0 })),
    critical(NORM,
      rename("norm.weight",                      "model.norm.weight",                               "d")),
    ...(c.tied
      ? [
          tie("native", head, "tok_embeddings.weight", "tied embeddings", true),
          tie("hf", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
        ]
      : [rename(head,                            "lm_head.weight",                                  "v d")]),
  ];
}
