// Numbers that look random and are the same for the same seed and name.
import { createHash } from "node:crypto";

/** From 0 to 1. Mulberry32 over a hash of both. */
export function randomBy(seed: number, name: string): () => number {
  let state = createHash("sha256").update(`${seed} ${name}`).digest().readUInt32LE(0);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
