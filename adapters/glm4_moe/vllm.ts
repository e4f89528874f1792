// GLM-4.5 to GLM-4.7 under vLLM's names. Axes as in mapping.ts.
//   vllm-project/vllm@002d6073aa034d4f5545d45021b0e56d1f3c3593:vllm/model_executor/models/glm4_moe.py
import { type MapRule, type Rule, tie } from "../../src/table/rule.ts";
import { biasedExperts, gateUpProj, qkvProj, sameName } from "../trainers/vllm.ts";
import { MTP_LAYER, mtpLayers } from "../trainers/vllm-mtp.ts";
import type { Glm4MoeConfig } from "./config.ts";

// biome-ignore format: a table
export function vllmRules(c: Glm4MoeConfig): Rule[] {
  const dense = "model.layers.{dense}.mlp";
  return [
    sameName("model.embed_tokens.weight",     "v d"),
    ...attention(c, "model.layers.{l}"),
    ...(c.nDenseLayers > 0
      ? [gateUpProj(dense, "weight", "f", " d"), sameName(`${dense}.down_proj.weight`, "d f")]
      : []),
    ...(c.nDenseLayers < c.nLayers ? biasedExperts("model.layers.{moe}.mlp") : []),
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

// biome-ignore format: a table
function attention(c: Glm4MoeConfig, layer: string): MapRule[] {
  const self = `${layer}.self_attn`;
  return [
    sameName(`${layer}.input_layernorm.weight`,          "d"),
    qkvProj(self, "weight", " d"),
    ...(c.attentionBias ? [qkvProj(self, "bias", "")] : []),
    sameName(`${self}.o_proj.weight`,                    "d (n H)"),
    ...(c.qkNorm
      ? [sameName(`${self}.q_norm.weight`, "H"), sameName(`${self}.k_norm.weight`, "H")]
      : []),
    sameName(`${layer}.post_attention_layernorm.weight`, "d"),
  ];
}
