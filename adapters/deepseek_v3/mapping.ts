// DeepSeek-V3: its decoder and its MTP layers. Axes as in deepseek-table.ts.
//   pytorch/torchtitan@v0.3.0:torchtitan/models/deepseek_v3/state_dict_adapter.py
//   pytorch/torchtitan@v0.2.2:torchtitan/models/deepseek_v3/model/state_dict_adapter.py
//   huggingface/transformers@v5.23.0:src/transformers/models/deepseek_v3/modeling_deepseek_v3.py
import {
  announced,
  inCanonicalOrder,
  type MapRule,
  optional,
  type Rule,
  refuse,
  rename,
  type TieRule,
  tie,
  together,
} from "../../src/table/rule.ts";
import type { DeepseekV3Config } from "../common/deepseek-decoder.ts";
import { decoderAttention, decoderExperts, decoderRules } from "../common/deepseek-table.ts";
import type { Spelling } from "../trainers/torchtitan.ts";

export const deepseekV3Rules = (c: DeepseekV3Config, spelling: Spelling): Rule[] => [
  ...decoderRules(c, spelling),
  ...(c.nMtpLayers === 0 ? unannounced(c) : mtpLayers(c, spelling)),
];

/** Layers after the last are no tensors of transformers' model, which skips them, as it does without these in a file. */
export const ofMtp = (c: DeepseekV3Config, rule: MapRule): MapRule =>
  c.announcesMtp ? announced("part that predicts further tokens", optional(rule)) : optional(rule);

/** What only such a layer has. A number of layers that is wrong in the config is no layer of this kind. */
export const unannounced = (c: DeepseekV3Config): Rule[] =>
  ["eh_proj", "enorm", "hnorm", "shared_head"].map((name) =>
    refuse("hf", `model.layers.${c.nLayers}.${name}.{key}`, {
      reason:
        "belongs to a layer that predicts further tokens, and the config announces none: num_nextn_predict_layers is 0",
      help: `give the number of such layers in the config, or convert without: --allow-drop 'model.layers.${c.nLayers}.*'`,
    }),
  );

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

/** What the Hub's files repeat in each MTP layer. */
export const repeatedByMtp = (c: DeepseekV3Config): TieRule[] => {
  const hf = "model.layers.{m+L}";
  const head = c.tied ? "model.embed_tokens.weight" : "lm_head.weight";
  return [
    tie("hf", `${hf}.embed_tokens.weight`, "model.embed_tokens.weight", "MTP layers share the embedding", false),
    tie("hf", `${hf}.shared_head.head.weight`, head, "MTP layers share the head", false),
  ];
};
