// MoEArgs of torchtitan 0.2: the fields that a Hugging Face config can express.
//   pytorch/torchtitan@v0.2.2:torchtitan/models/moe/moe.py#L22
import type { ConfigReader } from "./config-reader.ts";

export interface MoeArgs {
  readonly nExperts: number;
  readonly nSharedExperts: number;
  /** Experts per token. */
  readonly topK: number;
  /** Whether the weights of the chosen experts are normalised to sum to 1. */
  readonly normalise: boolean;
  readonly routeScale: number;
  readonly nGroups: number;
  readonly groupsPerToken: number;
}

/**
 * Reads `moe_args` of model args. Throws InputError INVALID_CONFIG or CONFIG_UNSUPPORTED naming the field.
 * @param score how the family turns the router's logits into scores
 * @param scoresInputs whether the scores multiply the experts' inputs instead of their outputs
 */
export function parseMoeArgs(
  args: ConfigReader,
  score: "softmax" | "sigmoid",
  gateBias: boolean,
  scoresInputs = false,
): MoeArgs {
  const moe = args.object("moe_args");
  const other = "has no place on the Hugging Face side";
  if (moe.string("score_func", "sigmoid") !== score) moe.unsupported("score_func", `"${score}"`, other);
  if (moe.boolean("score_before_experts", true) !== scoresInputs)
    moe.unsupported("score_before_experts", `${scoresInputs}`, other);
  if (moe.boolean("gate_bias", false) !== gateBias) moe.unsupported("gate_bias", `${gateBias}`, other);
  return {
    nExperts: moe.size("num_experts", 8),
    nSharedExperts: moe.count("num_shared_experts", 1),
    topK: moe.size("top_k", 1),
    normalise: moe.boolean("route_norm", false),
    routeScale: moe.number("route_scale", 1),
    nGroups: moe.optional("num_expert_groups", moe.size) ?? 1,
    groupsPerToken: moe.optional("num_limited_groups", moe.size) ?? 1,
  };
}

/** The same, for families whose Hugging Face side has no shared experts, no groups and no scale. */
export function parsePlainMoeArgs(args: ConfigReader, gateBias: boolean): MoeArgs {
  const read = parseMoeArgs(args, "softmax", gateBias);
  const moe = args.object("moe_args");
  const other = "has no place on the Hugging Face side";
  if (read.nSharedExperts > 0) moe.unsupported("num_shared_experts", "0", other);
  if (read.routeScale !== 1) moe.unsupported("route_scale", "1", other);
  if (read.nGroups > 1) moe.unsupported("num_expert_groups", "null", other);
  return read;
}
