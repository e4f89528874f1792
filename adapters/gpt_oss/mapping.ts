// gpt-oss: attention with biases and a sink a head, experts whose gate and up rows are interleaved on both sides.
// Axes: l layers, v vocabulary, d model, n query heads, k key/value heads, H channels of a head, e experts, f ffn of an
// expert, g its gate and up rows.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/gpt_oss/{moe,state_dict_adapter}.py
//   pytorch/torchtitan@v0.2.2:torchtitan/models/gpt_oss/model/state_dict_adapter.py
//   huggingface/transformers@v5.23.0:src/transformers/models/gpt_oss/modeling_gpt_oss.py
import { critical, drop, map, type Rule, rename, tie } from "../../src/table/rule.ts";
import { EXPERT_BIAS, ROUTER } from "../common/critical.ts";
import type { GptOssConfig } from "./config.ts";

/** 0.3.0; before `routed_experts`; before experts named their axes; before `lm_head`; 0.2.2, before `qkv_linear`. */
export const GPT_OSS_LAYOUTS = [
  "torchtitan",
  "torchtitan-2026-05",
  "torchtitan-2026-04-27",
  "torchtitan-2026-04-16",
  "torchtitan-0.2",
] as const;

export const gptOssAxes = (c: GptOssConfig) => ({
  l: c.nLayers,
  v: c.vocabSize,
  d: c.dim,
  n: c.nHeads,
  k: c.nKvHeads,
  H: c.headDim,
  e: c.nExperts,
  f: c.expertDim,
  g: 2 * c.expertDim,
});

/** How a layout spells the experts of a layer. */
interface ExpertNames {
  readonly module: string;
  readonly mlp1: string;
  readonly bias1: string;
  readonly mlp2: string;
  readonly bias2: string;
  readonly expertBias: string;
}

const WITH_AXES = {
  mlp1: "mlp1_weight_EGD",
  bias1: "mlp1_bias_EG",
  mlp2: "mlp2_weight_EDF",
  bias2: "mlp2_bias_ED",
  expertBias: "expert_bias_E",
};
const EXPERTS: Readonly<Record<string, ExpertNames>> = {
  torchtitan: { module: "routed_experts.inner_experts", ...WITH_AXES },
  "torchtitan-2026-05": { module: "experts", ...WITH_AXES },
};
const OLD_EXPERTS: ExpertNames = {
  module: "experts",
  mlp1: "mlp1_weight",
  bias1: "mlp1_bias",
  mlp2: "mlp2_weight",
  bias2: "mlp2_bias",
  expertBias: "expert_bias",
};

/** `_keep_in_fp32_modules` of huggingface/transformers@v5.23.0:src/transformers/models/gpt_oss/modeling_gpt_oss.py#L389 */
const NORM = "transformers keeps the norms of this family in F32";

// biome-ignore format: a table
export function gptOssRules(c: GptOssConfig, layout: string): Rule[] {
  const early = layout === "torchtitan-0.2" || layout === "torchtitan-2026-04-16";
  const head = early ? "output.weight" : "lm_head.weight";
  const qkv = layout === "torchtitan-0.2" ? "layers.{l}.attention" : "layers.{l}.attention.qkv_linear";
  const name = EXPERTS[layout] ?? OLD_EXPERTS;
  const native: string = `layers.{l}.moe.${name.module}`;
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
    // MXFP4 files hold rows of outputs.
    map("reorder", { [`${native}.${name.mlp1}`]: "e g d" }, { [`${hf}.gate_up_proj`]: { dims: "e d g", encoded: { mxfp4: "e g d" } } }),
    rename(`${native}.${name.bias1}`,            `${hf}.gate_up_proj_bias`,                         "e g"),
    map("reorder", { [`${native}.${name.mlp2}`]: "e d f" }, { [`${hf}.down_proj`]: { dims: "e f d", encoded: { mxfp4: "e d f" } } }),
    rename(`${native}.${name.bias2}`,            `${hf}.down_proj_bias`,                            "e d"),
    critical(EXPERT_BIAS,
      drop("native", `layers.{l}.moe.${name.expertBias}`, "load-balancing bias, which HF has no place for", { dims: "e", recreate: 0 })),
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
