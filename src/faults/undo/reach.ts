// At which positions a tensor's fault can show: many cannot explain a first difference at the first position, or behind it.
import type { Sample } from "../fault.ts";
import { headsFor, isVision } from "./parts.ts";

/**
 * scores: from the second position on, as it moves how much tokens see of each other, and the first sees itself alone. tokens: where
 * certain tokens, images or experts are. all: at the first, too.
 */
export type Reach = "scores" | "tokens" | "all";

const OF_SCORES = /\bself_attn\.(?:[qk]_(?:proj|norm|layernorm)|q_a_proj|q_a_layernorm|q_b_proj)\./;
const OF_TOKENS = /\bexperts\b|\.(?:mlp|feed_forward)\.(?:gate|router)\.|embed_tokens|embed_positions/;

/** Queries with a gate of their own reach further. */
function isGated(sample: Sample, key: string): boolean {
  const heads = /q_proj\.weight$/.test(key) ? headsFor(sample, key) : null;
  return heads !== null && sample.source.tensors.get(key)!.shape[0] === 2 * heads.queries * heads.dim;
}

/** @param isOfScores whether nothing but queries and keys is moved, whatever else the tensors hold */
export function reachOf(sample: Sample, keys: readonly string[], isOfScores: boolean): Reach {
  if (keys.some((key) => isVision(key) || OF_TOKENS.test(key))) return "tokens";
  if (!isOfScores && !keys.every((key) => OF_SCORES.test(key) && !isGated(sample, key))) return "all";
  // A sink is one more that a token sees: the first one, too.
  return hasSinks(sample) ? "tokens" : "scores";
}

const sinks = new WeakMap<object, boolean>();

function hasSinks({ source: { tensors } }: Sample): boolean {
  let has = sinks.get(tensors);
  if (has === undefined) {
    has = [...tensors.keys()].some((key) => key.endsWith("sinks"));
    sinks.set(tensors, has);
  }
  return has;
}
