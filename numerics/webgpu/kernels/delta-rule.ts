import type { Kernel } from "../kernel.ts";
import { exponential } from "./exponential.ts";

export type DeltaRuleParam = "tokens" | "keyHeads" | "heads" | "columns" | "groupsPerHead";

/**
 * The gated delta rule token by token (arXiv:2412.06464 eq. 10). Columns of the state do not meet, so that an invocation
 * owns one: S[:, c] of one head, in workgroup memory, and no barrier is needed.
 * @param channels of queries and keys
 */
export const deltaRule = (channels: number, lanes: number): Kernel<DeltaRuleParam> => ({
  key: `delta-rule ${channels} channels ${lanes} lanes`,
  reads: { Q: "f32", K: "f32", V: "f32", G: "f32", B: "f32" },
  writes: "f32",
  params: { tokens: "u32", keyHeads: "u32", heads: "u32", columns: "u32", groupsPerHead: "u32" },
  size: lanes,
  declarations: `${exponential}
var<workgroup> state: array<f32, ${channels * lanes}>;`,
  body: () => `
let index = group.y * groups.x + group.x;
let head = index / p.groupsPerHead;
let column = index % p.groupsPerHead * ${lanes}u + lane;
if (head >= p.heads || column >= p.columns) { return; }
let keyHead = head / (p.heads / p.keyHeads);
for (var h = 0u; h < ${channels}u; h++) { state[h * ${lanes}u + lane] = 0.0f; }
for (var t = 0u; t < p.tokens; t++) {
let key = (t * p.keyHeads + keyHead) * ${channels}u;
let gate = t * p.heads + head;
let g = G[gate];
let keep = select(1.0f / exponential(-g), exponential(g), g <= 0.0);
var u = V[gate * p.columns + column];
for (var h = 0u; h < ${channels}u; h++) {
let s = state[h * ${lanes}u + lane] * keep;
state[h * ${lanes}u + lane] = s;
u -= s * K[key + h];
}
u *= B[gate];
var o = 0.0f;
for (var h = 0u; h < ${channels}u; h++) {
let s = state[h * ${lanes}u + lane] + K[key + h] * u;
state[h * ${lanes}u + lane] = s;
o += s * Q[key + h];
}
Y[gate * p.columns + column] = o;
}`,
});

/** Invocations that share out the columns of a head: as many as the state leaves room for, a power of two. */
export function deltaRuleLanes(channels: number, memoryBytes: number): number {
  let lanes = 32;
  while (lanes > 1 && 4 * channels * lanes > memoryBytes) lanes /= 2;
  return lanes;
}
