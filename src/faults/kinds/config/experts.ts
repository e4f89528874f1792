// Fields of config.json about which experts a token goes to, and what they weigh.
import type { JsonObject } from "../../../base/json.ts";
import type { Kind } from "../kind.ts";
import { numberOf } from "../names.ts";
import { fieldKind, KEEP, ofNumber } from "./field.ts";

const FEED_FORWARD = /ffn|mlp|moe|router/;

const isMixture = (config: JsonObject): boolean =>
  numberOf(config, ["num_local_experts", "n_routed_experts", "num_experts"]) > 0;

export const ROUTING: readonly Kind[] = [
  fieldKind({
    name: "top-k-one-less",
    about: "one expert less a token",
    field: "num_experts_per_tok",
    taps: FEED_FORWARD,
    to: ofNumber((value, config) => (isMixture(config) && value > 1 ? value - 1 : KEEP)),
  }),
  fieldKind({
    name: "top-k-one-more",
    about: "one expert more a token",
    field: "num_experts_per_tok",
    taps: FEED_FORWARD,
    to: ofNumber((value, config) => (isMixture(config) ? value + 1 : KEEP)),
  }),
  fieldKind({
    name: "top-k-not-normalised",
    about: "the weights of the chosen experts normalised, or not",
    field: "norm_topk_prob",
    taps: FEED_FORWARD,
    alsoCodes: ["CONFIG_UNSUPPORTED"],
    to: (value, config) => (typeof value === "boolean" && isMixture(config) ? !value : KEEP),
  }),
  fieldKind({
    name: "routed-scale-ignored",
    about: "what experts give not scaled before it is added (DeepSeek ports)",
    field: "routed_scaling_factor",
    taps: FEED_FORWARD,
    to: ofNumber((value) => (value === 1 ? 2.5 : 1)),
  }),
  fieldKind({
    name: "fewer-expert-groups",
    about: "one group of experts less to choose from",
    field: "topk_group",
    taps: FEED_FORWARD,
    to: ofNumber((value) => (value > 1 ? value - 1 : KEEP)),
  }),
  fieldKind({
    name: "expert-groups-ignored",
    about: "all experts in one group: the choice is not limited (DeepSeek ports)",
    field: "n_group",
    taps: FEED_FORWARD,
    alsoCodes: ["CONFIG_UNSUPPORTED"],
    to: ofNumber((value) => (value > 1 ? 1 : KEEP)),
  }),
];
