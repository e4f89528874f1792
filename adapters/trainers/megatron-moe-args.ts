// Arguments of Megatron-LM that tell of experts, latent attention and YaRN, as fields of Hugging Face's config.
//   NVIDIA/Megatron-LM@core_v0.16.1:megatron/core/transformer/transformer_config.py
import type { JsonObject } from "../../src/base/json.ts";

const number = (value: unknown, otherwise: number): number => (typeof value === "number" ? value : otherwise);

/** Of models with `num_experts`. Each family reads the fields that its config has. */
export function expertFields(args: JsonObject): JsonObject {
  const experts = args.num_experts ?? args.num_moe_experts;
  if (typeof experts !== "number") return {};
  const dense = denseLayers(args);
  const ffn = number(args.moe_ffn_hidden_size, number(args.ffn_hidden_size, 0));
  const isSigmoid = args.moe_router_score_function === "sigmoid";
  const fields: Record<string, unknown> = {
    num_local_experts: experts,
    n_routed_experts: experts,
    moe_intermediate_size: ffn,
    norm_topk_prob: isSigmoid || args.moe_router_pre_softmax !== true,
    n_group: number(args.moe_router_num_groups, 1),
    topk_group: number(args.moe_router_group_topk, 1),
    routed_scaling_factor: number(args.moe_router_topk_scaling_factor, 1),
    num_nextn_predict_layers: number(args.mtp_num_layers, 0),
  };
  if (typeof args.moe_shared_expert_intermediate_size === "number")
    fields.n_shared_experts = args.moe_shared_expert_intermediate_size / ffn;
  if (dense !== null) {
    fields.mlp_only_layers = dense;
    fields.decoder_sparse_step = 1;
    fields.first_k_dense_replace = dense.length;
  }
  return fields;
}

/** Of families whose config has `intermediate_size` of one expert: there are no other feed-forwards. */
export function expertsAsFfn(args: JsonObject): JsonObject {
  const { moe_intermediate_size: ffn } = expertFields(args);
  return ffn === undefined ? {} : { intermediate_size: ffn };
}

/** Indices of layers without experts: `moe_layer_freq` is a list of 0 and 1, or every how many-th layer has some. */
function denseLayers({ moe_layer_freq: pattern, num_layers: layers }: JsonObject): number[] | null {
  if (Array.isArray(pattern)) return pattern.flatMap((has, i) => (has === 0 ? [i] : []));
  if (typeof pattern !== "number" || typeof layers !== "number") return null;
  return Array.from({ length: layers }, (_, i) => i).filter((i) => i % pattern !== 0);
}

const LATENTS: readonly (readonly [argument: string, field: string])[] = [
  ["q_lora_rank", "q_lora_rank"],
  ["kv_lora_rank", "kv_lora_rank"],
  ["qk_head_dim", "qk_nope_head_dim"],
  ["qk_pos_emb_head_dim", "qk_rope_head_dim"],
  ["v_head_dim", "v_head_dim"],
];

/** Of `multi_latent_attention`. */
export function latentFields(args: JsonObject): JsonObject {
  if (args.multi_latent_attention !== true) return {};
  const own = LATENTS.filter(([argument]) => args[argument] !== undefined);
  return {
    ...Object.fromEntries(own.map(([argument, field]) => [field, args[argument]])),
    ...(typeof args.num_attention_heads === "number" ? { num_key_value_heads: args.num_attention_heads } : {}),
    // transformers turns so many channels. `kv_channels` is the size of heads that latents do not have.
    ...(typeof args.qk_pos_emb_head_dim === "number" ? { head_dim: args.qk_pos_emb_head_dim } : {}),
  };
}

/** Null where there is no YaRN; undefined where its parameters are not among the arguments. */
export function yarnOf(args: JsonObject, theta: number): JsonObject | null | undefined {
  const isLatent = args.multi_latent_attention === true;
  if (isLatent ? args.rope_type === "rope" : args.position_embedding_type !== "yarn") return null;
  const own = (name: string) => args[isLatent ? name : `yarn_${name}`];
  const [factor, positions] = [own("rotary_scaling_factor"), own("original_max_position_embeddings")];
  if (typeof factor !== "number" || typeof positions !== "number") return undefined;
  const scales = ["mscale", "mscale_all_dim"].filter((name) => typeof own(name) === "number");
  return {
    rope_type: "yarn",
    rope_theta: theta,
    factor,
    original_max_position_embeddings: positions,
    beta_fast: number(own("beta_fast"), 32),
    beta_slow: number(own("beta_slow"), 1),
    truncate: isLatent || args.yarn_correction_range_round_to_int !== false,
    ...Object.fromEntries(scales.map((name) => [name, own(name)])),
  };
}
