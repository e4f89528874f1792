// Rotary order in places that are no plain projection of queries or keys: inside fused ones, latent ones, vision towers.
import { toHalves, toPairs } from "../axes.ts";
import type { Kind } from "../kind.ts";
import { isVision, keysLike, numberOf, textConfig } from "../names.ts";
import { fusedHeads, fusedKeys, visionHead } from "./fused.ts";
import { inRows, isTurning, rope, within } from "./rope.ts";

const VISION = /\.(?:attn|self_attn)\.[qk]_proj\.weight$/;

export const ROPE_ELSEWHERE: readonly Kind[] = [
  rope({
    name: "rope-fused-qkv-not-permuted",
    about: "queries and keys within one fused projection in the other order, values as they are",
    places: (sample) => fusedKeys(sample).filter((key) => isTurning(fusedHeads(sample, key).head)),
    bytes(sample, key) {
      const { head, part } = fusedHeads(sample, key);
      const order = toPairs(head);
      return inRows(sample, key, (row) => (part(row) === "v" ? row : row - (row % head) + order(row % head)));
    },
  }),
  rope({
    name: "rope-vision-not-permuted",
    about: "queries or keys of a vision tower in the other order",
    places: (sample) => (isTurning(visionHead(sample)) ? keysLike(sample, VISION, ({ key }) => isVision(key)) : []),
    bytes: (sample, key) => inRows(sample, key, toPairs(visionHead(sample))),
  }),
  rope({
    name: "rope-latent-part-not-permuted",
    about: "the rotary channels of latent attention in the other order: of the shared key, or of each query head",
    places: (sample) => {
      const turning = numberOf(textConfig(sample.config), ["qk_rope_head_dim"]);
      return isTurning(turning) ? keysLike(sample, /\.(?:kv_a_proj_with_mqa|q_b_proj)\.weight$/) : [];
    },
    bytes(sample, key) {
      const text = textConfig(sample.config);
      const turning = numberOf(text, ["qk_rope_head_dim"]);
      const still = numberOf(text, key.includes("kv_a") ? ["kv_lora_rank"] : ["qk_nope_head_dim"]);
      return inRows(sample, key, within(still + turning, still, turning, toHalves(turning)));
    },
  }),
];
