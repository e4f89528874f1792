// DeepSeek-V3: its decoder and its MTP layers. Axes as in deepseek-table.ts.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/deepseek_v3/state_dict_adapter.py
//   pytorch/torchtitan@v0.2.2:torchtitan/models/deepseek_v3/model/state_dict_adapter.py
//   huggingface/transformers@v5.23.0:src/transformers/models/deepseek_v3/modeling_deepseek_v3.py
import { inCanonicalOrder, type Rule, rename, together } from "../../src/table/rule.ts";
import type { DeepseekV3Config } from "../common/deepseek-decoder.ts";
import { decoderAttention, decoderExperts, decoderRules } from "../common/deepseek-table.ts";
import { ofMtp, repeatedByMtp, unannounced } from "../trainers/further-tokens.ts";
import type { Spelling } from "../trainers/torchtitan.ts";

export const deepseekV3Rules = (c: DeepseekV3Config, spelling: Spelling): Rule[] => [
  ...decoderRules(c, spelling),
  ...(c.nMtpLayers === 0 ? unannounced(c) : mtpLayers(c, spelling)),
];

/**
 * The config announces these layers even where a file lacks them: transformers does not save them. So each layer is
 * present or absent as a whole. The Hub's files repeat the embedding and the head in each.
 */
// biome-ignore format: a table
function mtpLayers(c: DeepseekV3Config, spelling: Spelling): Rule[] {
  const native = "mtp_layers.{m}";
  const hf = "model.layers.{m+L}";
  return [
    ofMtp(c, together("mtpLayer", [
      rename(`${native}.enorm.weight`,    `${hf}.enorm.weight`,            "d"),
      rename(`${native}.hnorm.weight`,    `${hf}.hnorm.weight`,            "d"),
      rename(`${native}.eh_proj.weight`,  `${hf}.eh_proj.weight`,          "d x"),
      ...decoderAttention(c, native, hf),
      ...inCanonicalOrder(decoderExperts(spelling, native, hf)),
      rename(`${native}.mtp_norm.weight`, `${hf}.shared_head.norm.weight`, "d"),
    ])),
    ...repeatedByMtp(c),
  ];
}
