// Layers that predict further tokens, as Hugging Face's side has them: numbered on from the last, no tensors of transformers'
// model, each with copies of embedding and head in the Hub's files. Axes: m such layers, L those before them.
import { announced, type MapRule, optional, type Rule, refuse, type TieRule, tie } from "../../src/table/rule.ts";

export interface FurtherConfig {
  readonly nLayers: number;
  /** Whether the config says how many there are. */
  readonly announcesMtp: boolean;
  readonly tied: boolean;
}

/** transformers skips these layers, as it does without them in a file. */
export const ofMtp = (c: FurtherConfig, rule: MapRule): MapRule =>
  c.announcesMtp ? announced("part that predicts further tokens", optional(rule)) : optional(rule);

/** What only such a layer has. A number of layers that is wrong in the config is no layer of this kind. */
export const unannounced = (c: FurtherConfig): Rule[] =>
  ["eh_proj", "enorm", "hnorm", "shared_head"].map((name) =>
    refuse("hf", `model.layers.${c.nLayers}.${name}.{key}`, {
      reason:
        "belongs to a layer that predicts further tokens, and the config announces none: num_nextn_predict_layers is 0",
      help: `give the number of such layers in the config, or convert without: --allow-drop 'model.layers.${c.nLayers}.*'`,
    }),
  );

/** What the Hub's files repeat in each. */
export const repeatedByMtp = (c: FurtherConfig): TieRule[] => {
  const hf = "model.layers.{m+L}";
  const head = c.tied ? "model.embed_tokens.weight" : "lm_head.weight";
  return [
    tie("hf", `${hf}.embed_tokens.weight`, "model.embed_tokens.weight", "MTP layers share the embedding", false),
    tie("hf", `${hf}.shared_head.head.weight`, head, "MTP layers share the head", false),
  ];
};
