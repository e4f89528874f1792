// Mixtral under vLLM's names. Axes as in mapping.ts.
//   vllm-project/vllm@f0e26957c6af4d1ce3d0642120b011949da65885:vllm/model_executor/models/mixtral.py
import { type Rule, tie } from "../../src/table/rule.ts";
import { fusedExperts, qkvProj, sameName } from "../trainers/vllm.ts";
import type { MixtralConfig } from "./config.ts";
import { routerInBothNames } from "./mapping.ts";

// biome-ignore format: a table
export function vllmRules(c: MixtralConfig): Rule[] {
  const layer = "model.layers.{l}";
  const moe = `${layer}.block_sparse_moe`;
  return [
    sameName("model.embed_tokens.weight",                "v d"),
    sameName(`${layer}.input_layernorm.weight`,          "d"),
    qkvProj(`${layer}.self_attn`, "weight", " d"),
    sameName(`${layer}.self_attn.o_proj.weight`,         "d (n H)"),
    sameName(`${layer}.post_attention_layernorm.weight`, "d"),
    ...routerInBothNames(`${moe}.gate.weight`),
    ...fusedExperts(`${moe}.experts`, { gate: "w1", up: "w3", down: "w2", held: `${layer}.mlp.experts` }),
    sameName("model.norm.weight",                        "d"),
    ...(c.tied
      ? [
          tie("native", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
          tie("hf", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
        ]
      : [sameName("lm_head.weight",                      "v d")]),
  ];
}
