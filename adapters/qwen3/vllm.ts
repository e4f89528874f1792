// Dense Qwen3 under vLLM's names. Axes as in mapping.ts.
//   vllm-project/vllm@002456df36fc7a63ca4463f335a49d05634ab2ab:vllm/model_executor/models/qwen3.py
import { type Rule, tie } from "../../src/table/rule.ts";
import { gateUpProj, qkvProj, sameName } from "../trainers/vllm.ts";
import type { Qwen3Config } from "./config.ts";

// biome-ignore format: a table
export function vllmRules(c: Qwen3Config): Rule[] {
  const layer = "model.layers.{l}";
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
    gateUpProj(`${layer}.mlp`, "weight", "f", " d"),
    sameName(`${layer}.mlp.down_proj.weight`,          "d f"),
    sameName("model.norm.weight",                      "d"),
    ...(c.tied
      ? [
          tie("native", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
          tie("hf", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
        ]
      : [sameName("lm_head.weight",                    "v d")]),
  ];
}
