// Whether the input is long enough to tell: a rotation turns nothing at position 0, and a window is not reached by few tokens.
import type { AttentionMask } from "../../../numerics/graph.ts";
import { count, type Examine } from "./check.ts";

/** Fewer tokens say little of positions: wrong frequencies or a wrong order of rotated channels hardly show. */
const TELLING_TOKENS = 32;

export const positions: Examine = ({ evidence: { coverage } }) => {
  const { tokens } = coverage;
  const name = "the input is long enough to tell positions";
  const length = count(tokens, "token");
  if (tokens >= TELLING_TOKENS) return [{ name, status: "passed", detail: length }];
  const why =
    tokens === 1 ? "position 0 alone, where a rotary embedding turns nothing" : "wrong positions may not show";
  const detail = `${length}: ${why}; give ${TELLING_TOKENS} tokens or more`;
  return [{ name, status: "not checked", detail, caveat: `on ${length} alone` }];
};

export const windows: Examine = ({ evidence: { coverage } }) => {
  const { tokens, masks, longOnly } = coverage;
  const limited = new Map([
    ...masks.flatMap((mask) => sizeOf(mask)),
    ...longOnly.map(({ what, tokens }) => [what, tokens] as const),
  ]);
  if (limited.size === 0) return [];
  const name = "the input is long enough for windows and what else only long ones show";
  const beyond = [...limited].filter(([, size]) => size >= tokens).map(([words]) => words);
  if (beyond.length === 0) return [{ name, status: "passed", detail: [...limited.keys()].join(", ") }];
  const what = beyond.join(", ");
  const detail = `${what}: not reached by ${count(tokens, "token")}, with another size the logits would be the same`;
  return [{ name, status: "not checked", detail, caveat: `${what} not reached` }];
};

function sizeOf(mask: AttentionMask): [string, number][] {
  switch (mask.kind) {
    case "window":
      return [[`a window of ${count(mask.size, "token")}`, mask.size]];
    case "chunk":
      return [[`chunks of ${count(mask.size, "token")}`, mask.size]];
    case "causal":
    case "segments":
      return [];
    default:
      throw mask satisfies never;
  }
}
