// DeepSeek-V3: its decoder and its MTP layers. Axes as in deepseek-table.ts.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/deepseek_v3/state_dict_adapter.py
//   pytorch/torchtitan@v0.2.2:torchtitan/models/deepseek_v3/model/state_dict_adapter.py
//   huggingface/transformers@v5.23.0:src/transformers/models/deepseek_v3/modeling_deepseek_v3.py
import { optional, type Rule, rename, tie, together } from "../../src/table/rule.ts";
import type { DeepseekV3Config } from "../common/deepseek-decoder.ts";
import { decoderAttention, decoderExperts, decoderRules } from "../common/deepseek-table.ts";
import { VLLM } from "../trainers/vllm.ts";
import { vllmRules } from "./vllm.ts";

/** 0.3.0; before `routed_experts`; before experts named their axes; 0.2.2, before `lm_head`. */
export const DEEPSEEK_V3_LAYOUTS = [
  "torchtitan",
  "torchtitan-2026-05",
  "torchtitan-2026-04",
  "torchtitan-0.2",
  VLLM,
] as const;

export function deepseekV3Rules(c: DeepseekV3Config, layout: string): Rule[] {
  if (layout === VLLM) return vllmRules(c);
  return [...decoderRules(c, layout), ...(c.nMtpLayers === 0 ? [] : mtpLayers(c, layout))];
}

/**
 * The config announces these layers whether a file has them or not (transformers saves none), so each is there as a
 * whole or not at all. The Hub's files repeat the embedding and the head in each.
 */
// biome-ignore format: a table
function mtpLayers(c: DeepseekV3Config, layout: string): Rule[] {
  const native = "mtp_layers.{m}";
  const hf = "model.layers.{m+L}";
  return [
    optional(together("mtpLayer", [
      rename(`${native}.enorm.weight`,    `${hf}.enorm.weight`,            "d"),
      rename(`${native}.hnorm.weight`,    `${hf}.hnorm.weight`,            "d"),
      rename(`${native}.eh_proj.weight`,  `${hf}.eh_proj.weight`,          "d x"),
      ...decoderAttention(c, native, hf),
      ...decoderExperts(layout, native, hf),
      rename(`${native}.mtp_norm.weight`, `${hf}.shared_head.norm.weight`, "d"),
    ])),
    tie("hf", `${hf}.embed_tokens.weight`, "model.embed_tokens.weight", "MTP layers share the embedding", false),
    tie("hf", `${hf}.shared_head.head.weight`, c.tied ? "model.embed_tokens.weight" : "lm_head.weight", "MTP layers share the head", false),
  ];
}
