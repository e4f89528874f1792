import type { RopePairs } from "../../graph.ts";
import type { Kernel } from "../kernel.ts";
import { flatIndex, flatSize } from "./elementwise.ts";

/** First channel of the pair and its index, for channel c < 2·pairs. */
const pairing = {
  adjacent: "let isFirst = (c & 1u) == 0u; let pair = c / 2u; let distance = 1u;",
  half: "let isFirst = c < p.pairs; let pair = select(c - p.pairs, c, isFirst); let distance = p.pairs;",
} as const;

/** (a, b) → (a·cos − b·sin, b·cos + a·sin) for each pair of the first 2·pairs channels; `TABLE` is cos, then sin. */
export const rope = (pairs: RopePairs): Kernel<"count" | "heads" | "channels" | "pairs" | "tokens"> => ({
  key: `rope ${pairs}`,
  reads: { X: "f32", TABLE: "f32" },
  writes: "f32",
  params: { count: "u32", heads: "u32", channels: "u32", pairs: "u32", tokens: "u32" },
  size: flatSize,
  body: () => `${flatIndex("p.count")}
let c = i % p.channels;
let x = X[i];
if (c >= 2u * p.pairs) { Y[i] = x; return; }
${pairing[pairs]}
let at = i / (p.heads * p.channels) * p.pairs + pair;
let cosine = TABLE[at];
let sine = TABLE[p.tokens * p.pairs + at];
if (isFirst) { Y[i] = x * cosine - X[i + distance] * sine; } else { Y[i] = x * cosine + X[i - distance] * sine; }`,
});
