// Qwen3-MoE under vLLM's names. Axes as in mapping.ts.
//   vllm-project/vllm@002456df36fc7a63ca4463f335a49d05634ab2ab:vllm/model_executor/models/qwen3_moe.py
import { critical, type Rule, tie } from "../../src/table/rule.ts";
import { ROUTER } from "../common/critical.ts";
import { fusedExperts, gateUpProj, qkvProj, sameName } from "../trainers/vllm.ts";
import type { Qwen3MoeConfig } from "./config.ts";

// biome-ignore format: a table
export function vllmRules(c: Qwen3MoeConfig): Rule[] {
  const layer = "model.layers.{l}";
  const dense = "model.layers.{dense}.mlp";
  const moe = "model.layers.{moe}.mlp";
  return [
    sameName("model.embed_tokens.weight",              "v d"),
    sameName(`${layer}.input_layernorm.weight`,        "d"),
    qkvProj(`${layer}.self_attn`, "weight", " d"),
    ...(c.attentionBias ? [qkvProj(`${layer}.self_attn`, "bias", "")] : []),
    sameName(`${layer}.self_attn.o_proj.weight`,       "d (n H)"),
    ...(c.attentionBias
      ? [sameName(`${layer}.self_attn.o_proj.bias`,    "d")]
      : []),
    sameName(`${layer}.self_attn.q_norm.weight`,       "H"),
    sameName(`${layer}.self_attn.k_norm.weight`,       "H"),
    sameName(`${layer}.post_attention_layernorm.weight`, "d"),
    ...(c.denseLayers.length > 0
      ? [gateUpProj(dense, "weight", "f", " d"), sameName(`${dense}.down_proj.weight`, "d f")]
      : []),
    ...(c.denseLayers.length < c.nLayers
      ? [critical(ROUTER, sameName(`${moe}.gate.weight`, "e d")), ...fusedExperts(`${moe}.experts`)]
      : []),
    sameName("model.norm.weight",                      "d"),
    ...(c.tied
      ? [
          tie("native", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
          tie("hf", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
        ]
      : [sameName("lm_head.weight",                    "v d")]),
  ];
}
