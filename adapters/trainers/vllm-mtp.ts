// Layers that predict further tokens, which vLLM runs as a separate model, with one `mtp_block` per layer. Axes: m such
// layers, which HF numbers on from L, d model, x two of them side by side.
//   vllm-project/vllm@03356f8cb59ba27f3d0ce8866d7516b5e32cff65:vllm/model_executor/models/deepseek_mtp.py, `_rewrite_spec_layer_name`
//   vllm-project/vllm@028aedf62adee9d2a1e99d4cda7c1ce1c997c8cc:vllm/model_executor/models/glm4_moe_mtp.py, `_rewrite_spec_layer_name`
import { inCanonicalOrder, type MapRule, optional, type Rule, tie, together } from "../../src/table/rule.ts";
import { sameName } from "./vllm.ts";

/** HF's layers of this kind. */
export const MTP_LAYER = "model.layers.{m+L}";

/**
 * Each layer is present or absent as a whole. Its head is a copy of the model's.
 * @param decoder rules of the decoder layer in it, under HF's names
 * @param head HF's key of the model's output projection
 */
// biome-ignore format: a table
export function mtpLayers(decoder: readonly MapRule[], head: string): Rule[] {
  const block = `${MTP_LAYER}.mtp_block`;
  const inBlock = (rule: MapRule): MapRule => ({
    ...rule,
    native: rule.native.map((term) => ({
      ...term,
      key: term.key.replace(MTP_LAYER, block),
      ...(term.spellings === undefined ? {} : { spellings: term.spellings.map((key) => key.replace(MTP_LAYER, block)) }),
    })),
  });
  return [
    optional(together("mtpLayer", [
      sameName(`${MTP_LAYER}.enorm.weight`,            "d"),
      sameName(`${MTP_LAYER}.hnorm.weight`,            "d"),
      sameName(`${MTP_LAYER}.eh_proj.weight`,          "d x"),
      ...inCanonicalOrder(decoder).map(inBlock),
      sameName(`${MTP_LAYER}.shared_head.norm.weight`, "d"),
    ])),
    tie("native", `${MTP_LAYER}.shared_head.head.weight`, head, "MTP layers share the head", false),
    tie("hf", `${MTP_LAYER}.embed_tokens.weight`, "model.embed_tokens.weight", "MTP layers share the embedding", false),
    tie("hf", `${MTP_LAYER}.shared_head.head.weight`, head, "MTP layers share the head", false),
  ];
}
