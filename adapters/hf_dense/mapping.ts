// Dense models as torchtitan's transformers backend holds them: HF's keys after `model.`, all else as it is.
// Axes: l layers, v vocabulary, d model.
//   pytorch/torchtitan@v0.3.0:torchtitan/experiments/transformers_modeling_backend/state_dict_adapter.py
import { type PassThroughException, passThrough, type Rule, rename, tie } from "../../src/table/rule.ts";
import { ARCHITECTURES } from "./architectures.ts";
import type { HfDenseConfig } from "./config.ts";

export const hfDenseAxes = (c: HfDenseConfig) => ({ l: c.nLayers, v: c.vocabSize, d: c.dim });

const EXCEPTIONS: readonly PassThroughException[] = [
  {
    keys: /\.(?:\w*experts?|router|block_sparse_moe)\.|\.mlp\.(?:gate|shared_expert_gate)\.\w+$/,
    reason: "is of a mixture of experts, whose experts torchtitan lays out in its own way",
    help: "load an adapter of its family with --adapter (docs/add-a-family.md), or change only the container with --to raw",
  },
  {
    keys: /[._](?:scales|blocks|weight_scale|weight_scale_inv|input_scale|weight_packed|weight_shape|qweight|qzeros|g_idx|absmax|quant_map|SCB)$|\.quant_state\./,
    reason: "holds the codes or the scale of a quantised weight",
    help: "take the unquantised weights, or change only the container with --to raw",
  },
];

const EMBEDDING = "model.embed_tokens.weight";

export function hfDenseRules(c: HfDenseConfig): Rule[] {
  const architecture = ARCHITECTURES.get(c.modelType);
  const { rest, layer } = architecture ?? { rest: { "model.norm.weight": "d" }, layer: [] };
  return [
    rename(`model.${EMBEDDING}`, EMBEDDING, "v d"),
    ...Object.entries(rest).map(([key, dims]) => rename(`model.${key}`, key, dims)),
    ...(c.tied
      ? [
          tie("native", "model.lm_head.weight", `model.${EMBEDDING}`, "tied embeddings", true),
          tie("hf", "lm_head.weight", EMBEDDING, "tied embeddings", false),
        ]
      : [rename("model.lm_head.weight", "lm_head.weight", "v d")]),
    passThrough("model.model.layers.{l}.{key}", "model.layers.{l}.{key}", EXCEPTIONS, layer),
    // The tensors outside the layers are known only for the architectures in the list.
    ...(architecture === undefined ? [passThrough("model.{key}", "{key}", EXCEPTIONS)] : []),
  ];
}
