// Layouts of trainers and libraries that are known by their keys, and not read.
import type { TensorInfo } from "../formats/checkpoint.ts";
import { MEGATRON_HELP } from "./folders.ts";

export interface KeyKind {
  /** Whose keys they are: `Megatron-LM`. */
  readonly whose: string;
  /** Keys that no other layout has. */
  readonly key: RegExp;
  readonly help: string;
}

/** In the order of their weight; of several that fit, the first is named. */
export const KEY_KINDS: readonly KeyKind[] = [
  {
    whose: "Megatron-core",
    key: /(?:^|\.)decoder\.layers\.(?:\d+\.)?(?:self_attention\.linear_(?:qkv|proj)|mlp\.(?:linear_fc[12]|experts\.))/,
    help: MEGATRON_HELP,
  },
  {
    whose: "Megatron-LM",
    key: /(?:^|\.)language_model\.(?:encoder|transformer)\.layers\.\d+\.(?:self_)?attention\.query_key_value\./,
    help: MEGATRON_HELP,
  },
  {
    whose: "litgpt",
    key: /(?:^|\.)transformer\.h\.\d+\.(?:attn\.(?:qkv|attn)|mlp\.fc_1|norm_1)\./,
    help: "convert it with litgpt: litgpt convert_from_litgpt FOLDER OUT; then give OUT/model.pth, and the model's config.json with --config",
  },
  {
    whose: "OLMo-core",
    key: /(?:^|\.)blocks\.\d+\.(?:attention\.w_[qkv]|feed_forward(?:_moe)?\.(?:w[123]|experts))\b/,
    help: "export it with OLMo-core's src/examples/huggingface/convert_checkpoint_to_hf.py",
  },
  {
    whose: "torchtune",
    key: /(?:^|\.)layers\.\d+\.(?:sa|mlp)_norm\.scale$/,
    help: "take what its FullModelHFCheckpointer writes at the end of training, which has Hugging Face's keys",
  },
  {
    whose: "FSDP's flat parameters",
    key: /(?:^|\.)_?flat_param(?:_\d+)?$/,
    help: "save the model with a full or sharded state dict (StateDictType.FULL_STATE_DICT), not with a local one",
  },
];

export function keyKindOf(
  tensors: Iterable<TensorInfo>,
): { readonly kind: KeyKind; readonly example: string } | undefined {
  const found = new Map<KeyKind, string>();
  for (const { key } of tensors) {
    const kind = KEY_KINDS.find((each) => each.key.test(key));
    if (kind !== undefined && !found.has(kind)) found.set(kind, key);
  }
  const kind = KEY_KINDS.find((each) => found.has(each));
  return kind && { kind, example: found.get(kind)! };
}
