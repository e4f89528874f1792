// Qwen3-Next under vLLM's names: as in Hugging Face's files, but q (with the gates of its heads), k and v are one tensor, and
// so are gate and up. Axes as in mapping.ts.
//   vllm-project/vllm@002d6073aa034d4f5545d45021b0e56d1f3c3593:vllm/model_executor/models/qwen3_next.py
import { critical, type Rule, split, tie } from "../../src/table/rule.ts";
import { ROUTER } from "../common/critical.ts";
import { fusedExperts, gateUpProj, sameName } from "../trainers/vllm.ts";
import type { Qwen3NextConfig } from "./config.ts";
import { heldAsTheyAre, withoutMtp } from "./mapping.ts";

// biome-ignore format: a table
export function vllmRules(c: Qwen3NextConfig): Rule[] {
  const dense = "model.layers.{dense}.mlp";
  return [
    ...heldAsTheyAre(c, sameName),
    ...(c.fullLayers.length > 0 ? [qkvProj("model.layers.{full}.self_attn")] : []),
    ...(c.denseLayers.length > 0
      ? [gateUpProj(dense, "weight", "f", " d"), sameName(`${dense}.down_proj.weight`, "d f")]
      : []),
    ...(c.denseLayers.length < c.nLayers ? experts("model.layers.{moe}.mlp") : []),
    sameName("model.norm.weight",                      "d"),
    ...(c.tied
      ? [
          tie("native", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
          tie("hf", "lm_head.weight", "model.embed_tokens.weight", "tied embeddings", false),
        ]
      : [sameName("lm_head.weight",                    "v d")]),
    withoutMtp,
  ];
}

function qkvProj(attention: string): Rule {
  const parts = {
    q: `${attention}.q_proj.weight`,
    k: `${attention}.k_proj.weight`,
    v: `${attention}.v_proj.weight`,
  };
  return split(`${attention}.qkv_proj.weight`, parts, "(q: n two H | k: k H | v: k H) d");
}

// biome-ignore format: a table
const experts = (moe: string): Rule[] => [
  critical(ROUTER, sameName(`${moe}.gate.weight`,      "e d")),
  ...fusedExperts(`${moe}.experts`),
  gateUpProj(`${moe}.shared_expert`, "weight", "y", " d"),
  sameName(`${moe}.shared_expert.down_proj.weight`,    "d y"),
  sameName(`${moe}.shared_expert_gate.weight`,         "one d"),
];
