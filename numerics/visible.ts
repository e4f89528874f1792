// Which keys a query sees: every mask of graph.ts is a range of tokens for each of them.
import type { AttentionMask } from "./graph.ts";

/** Query t sees tokens [begin[t], end[t]); both ascend, and t itself is among them. */
export interface VisibleRanges {
  readonly begin: Uint32Array;
  readonly end: Uint32Array;
}

export function visibleRanges(tokens: number, mask: AttentionMask): VisibleRanges {
  const begin = new Uint32Array(tokens);
  const end = Uint32Array.from(begin, (_, t) => t + 1);
  switch (mask.kind) {
    case "causal":
      break;
    case "window":
      for (let t = 0; t < tokens; t++) begin[t] = Math.max(0, t - mask.size + 1);
      break;
    case "chunk":
      for (let t = 0; t < tokens; t++) begin[t] = t - (t % mask.size);
      break;
    case "segments": {
      let first = 0;
      for (const length of mask.lengths) {
        begin.fill(first, first, first + length);
        end.fill(first + length, first, first + length);
        first += length;
      }
      break;
    }
    default:
      throw mask satisfies never;
  }
  return { begin, end };
}

/** Pairs of query and visible key. */
export function visiblePairs(tokens: number, mask: AttentionMask): number {
  const { begin, end } = visibleRanges(tokens, mask);
  return begin.reduce((sum, first, t) => sum + end[t]! - first, 0);
}
