// Llama under vLLM's names. Axes as in mapping.ts; channels in HF's order.
//   vllm-project/vllm@0035bdf2b1ac243ef6f31eef27411b022461df8e:vllm/model_executor/models/llama.py
import { type Rule, tie } from "../../src/table/rule.ts";
import { gateUpProj, qkvProj, sameName } from "../trainers/vllm.ts";
import type { Llama3Config } from "./config.ts";

// biome-ignore format: a table
export function vllmRules(c: Llama3Config): Rule[] {
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
    sameName(`${layer}.post_attention_layernorm.weight`, "d"),
    gateUpProj(`${layer}.mlp`, "weight", "f", " d"),
    sameName(`${layer}.mlp.down_proj.weight`,          "d f"),
    ...(c.mlpBias
      ? [
          gateUpProj(`${layer}.mlp`, "bias", "f", ""),
          sameName(`${layer}.mlp.down_proj.bias`,      "d"),
        ]
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
