// DeepSeek-V3 under vLLM's names. Axes as in mapping.ts.
//   vllm-project/vllm@002d6073aa034d4f5545d45021b0e56d1f3c3593:vllm/model_executor/models/deepseek_v2.py, `load_weights`
import { type MapRule, type Rule, split, tie } from "../../src/table/rule.ts";
import { biasedExperts, gateUpProj, sameName } from "../trainers/vllm.ts";
import { MTP_LAYER, mtpLayers } from "../trainers/vllm-mtp.ts";
import type { DeepseekV3Config } from "./config.ts";

// biome-ignore format: a table
export function vllmRules(c: DeepseekV3Config): Rule[] {
  const dense = "model.layers.{dense}.mlp";
  return [
    sameName("model.embed_tokens.weight",     "v d"),
    ...attention(c, "model.layers.{l}"),
    gateUpProj(dense, "weight", "f", " d"),
    sameName(`${dense}.down_proj.weight`,     "d f"),
    ...biasedExperts("model.layers.{moe}.mlp"),
    sameName("model.norm.weight",             "d"),
    ...(c.tied
      ? [
          tie("native", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
          tie("hf", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
        ]
      : [sameName("lm_head.weight",           "v d")]),
    ...(c.nMtpLayers === 0
      ? []
      : mtpLayers(
          [...attention(c, MTP_LAYER), ...biasedExperts(`${MTP_LAYER}.mlp`)],
          c.tied ? "model.embed_tokens.weight" : "lm_head.weight",
        )),
  ];
}

/** One linear map projects both latents (the query's, and that of key and value) where the model has both. */
// biome-ignore format: a table
function attention(c: DeepseekV3Config, layer: string): MapRule[] {
  const self = `${layer}.self_attn`;
  const latents = { q: `${self}.q_a_proj.weight`, kv: `${self}.kv_a_proj_with_mqa.weight` };
  return [
    sameName(`${layer}.input_layernorm.weight`,          "d"),
    ...(c.qLoraRank === null
      ? [
          sameName(`${self}.q_proj.weight`,              "(n Q) d"),
          sameName(`${self}.kv_a_proj_with_mqa.weight`,  "A d"),
        ]
      : [
          split(`${self}.fused_qkv_a_proj.weight`, latents, "(q: c | kv: A) d"),
          sameName(`${self}.q_a_layernorm.weight`,       "c"),
          sameName(`${self}.q_b_proj.weight`,            "(n Q) c"),
        ]),
    sameName(`${self}.kv_a_layernorm.weight`,            "z"),
    sameName(`${self}.kv_b_proj.weight`,                 "(n B) z"),
    sameName(`${self}.o_proj.weight`,                    "d (n V)"),
    sameName(`${layer}.post_attention_layernorm.weight`, "d"),
  ];
}
