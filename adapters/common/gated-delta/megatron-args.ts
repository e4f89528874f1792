// What arguments of Megatron-LM say of Qwen3-Next and Qwen3.5 alone.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/transformer_config.py, `linear_attention_freq`
import type { JsonObject } from "../../../src/base/json.ts";
import type { OwnArguments } from "../../trainers/megatron-args.ts";

/** Under one name on each side. */
const DELTA = [
  "linear_key_head_dim",
  "linear_value_head_dim",
  "linear_num_key_heads",
  "linear_num_value_heads",
  "linear_conv_kernel_dim",
];

export const gatedDeltaArguments: OwnArguments = {
  centredNorms: true,
  fields: (args) => {
    const types = layerTypes(args);
    const { moe_shared_expert_intermediate_size: shared } = args;
    return {
      ...Object.fromEntries(DELTA.filter((name) => typeof args[name] === "number").map((name) => [name, args[name]])),
      ...(types === null ? {} : { layer_types: types }),
      ...(typeof shared === "number" ? { shared_expert_intermediate_size: shared } : {}),
    };
  },
};

/** A list has 1 for a delta net and 0 for full attention; a number says that every how many-th layer has the latter. */
function layerTypes({ linear_attention_freq: pattern, num_layers: layers }: JsonObject): string[] | null {
  const named = (isFull: boolean) => (isFull ? "full_attention" : "linear_attention");
  if (Array.isArray(pattern)) return pattern.map((isDelta) => named(isDelta === 0));
  if (typeof pattern !== "number" || typeof layers !== "number") return null;
  return Array.from({ length: layers }, (_, l) => named((l + 1) % pattern === 0));
}
