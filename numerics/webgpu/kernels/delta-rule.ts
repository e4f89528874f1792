// The gated delta rule in chunks of 64 tokens (arXiv:2412.06464 §3.3, arXiv:2406.06484 §3.2), of one head with state S [H, C]:
//   u = (I + A)⁻¹ β (v − e ⊙ k S)      Aᵢⱼ = βᵢ dᵢⱼ kᵢ·kⱼ for j < i     dᵢⱼ = exp(gⱼ₊₁ + … + gᵢ)
//   o = e ⊙ q S + P u                  Pᵢⱼ = dᵢⱼ qᵢ·kⱼ for j ≤ i        eᵢ = exp(g₁ + … + gᵢ)
//   S ← e₆₄ S + Σⱼ fⱼ kⱼ uⱼᵀ                                            fⱼ = exp(gⱼ₊₁ + … + g₆₄)
// All of a chunk that knows no state is made for every chunk at once (`deltaChunks`), the rest chunk by chunk (`deltaRule`).
// Decays are added up from j + 1 on: differences of sums from 1 on, as upstream takes them, cancel where states fade fast.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_5/modeling_qwen3_5.py, torch_chunk_gated_delta_rule
import type { Kernel } from "../kernel.ts";
import { exponential } from "./exponential.ts";
import { unroll } from "./unroll.ts";

/** Tokens of a chunk. */
export const deltaChunk = 64;
/** Rows that an invocation works on at once, in registers. */
const tile = 8;

/** Of a head and chunk one behind another: M = (I + A)⁻¹ β [64, 64], P [64, 64], e [64], f [64]. */
const at = { m: 0, p: deltaChunk ** 2, e: 2 * deltaChunk ** 2, f: 2 * deltaChunk ** 2 + deltaChunk };
export const deltaChunkFloats = 2 * deltaChunk ** 2 + 2 * deltaChunk;

const sizes = { tokens: "u32", keyHeads: "u32", heads: "u32", firstHead: "u32" } as const;

/** Where in Q and K the rows i0, i0 + 1, … of a chunk begin; those behind the last token are the last. */
const tokensOf = (channels: number) =>
  unroll(
    tile,
    (r) => `let t${r} = min(first + i0 + ${r}u, p.tokens - 1u);
let row${r} = (t${r} * p.keyHeads + keyHead) * ${channels}u;`,
  );

/**
 * M, P, e and f of heads from `firstHead` on. The grid is (chunks, heads); an invocation makes one column of M and P.
 * @param channels of queries and keys
 */
export const deltaChunks = (channels: number): Kernel<keyof typeof sizes> => ({
  key: `delta-chunks ${channels} channels`,
  reads: { Q: "f32", K: "f32", G: "f32", B: "f32" },
  writes: "f32",
  params: sizes,
  size: deltaChunk,
  declarations: `${exponential}
fn growth(x: f32) -> f32 { return select(1.0f / exponential(-x), exponential(x), x <= 0.0f); }
var<workgroup> a: array<f32, ${deltaChunk ** 2}>;`,
  body: () => `
let first = group.x * ${deltaChunk}u;
let head = p.firstHead + group.y;
let keyHead = head / (p.heads / p.keyHeads);
let count = min(${deltaChunk}u, p.tokens - first);
let slot = (group.y * groups.x + group.x) * ${deltaChunkFloats}u;
let own = min(first + lane, p.tokens - 1u);
let key = (own * p.keyHeads + keyHead) * ${channels}u;
var sum = 0.0f;
for (var i = 0u; i <= lane; i++) { sum += G[min(first + i, p.tokens - 1u) * p.heads + head]; }
Y[slot + ${at.e}u + lane] = growth(sum);
sum = 0.0f;
for (var i0 = 0u; i0 < count; i0 += ${tile}u) {
${tokensOf(channels)}
${unroll(tile, (r) => `var kk${r} = 0.0f; var qk${r} = 0.0f;`)}
for (var h = 0u; h < ${channels}u; h++) {
let k = K[key + h];
${unroll(tile, (r) => `kk${r} += K[row${r} + h] * k; qk${r} += Q[row${r} + h] * k;`)}
}
${unroll(tile, (r) => `a[(i0 + ${r}u) * ${deltaChunk}u + lane] = kk${r}; Y[slot + ${at.p}u + (i0 + ${r}u) * ${deltaChunk}u + lane] = qk${r};`)}
}
for (var i = lane; i < count; i++) {
let gate = (first + i) * p.heads + head;
if (i > lane) { sum += G[gate]; }
let d = growth(sum);
let place = i * ${deltaChunk}u + lane;
a[place] *= B[gate] * d;
Y[slot + ${at.p}u + place] *= d;
}
Y[slot + ${at.f}u + lane] = growth(sum);
workgroupBarrier();
// (I + A) M = β, by forward substitution
let b = B[own * p.heads + head];
for (var i0 = 0u; i0 < count; i0 += ${tile}u) {
${unroll(tile, (r) => `var m${r} = select(0.0f, b, i0 + ${r}u == lane);`)}
for (var j = 0u; j < i0; j++) {
let m = Y[slot + ${at.m}u + j * ${deltaChunk}u + lane];
${unroll(tile, (r) => `m${r} -= a[(i0 + ${r}u) * ${deltaChunk}u + j] * m;`)}
}
${unroll(tile, (r) => unroll(r, (s) => `m${r} -= a[(i0 + ${r}u) * ${deltaChunk}u + i0 + ${s}u] * m${s};`))}
${unroll(tile, (r) => `Y[slot + ${at.m}u + (i0 + ${r}u) * ${deltaChunk}u + lane] = m${r};`)}
}`,
});

export interface DeltaRuleShape {
  /** Of queries and keys. */
  readonly channels: number;
  /** Columns of the state that a workgroup owns. */
  readonly columns: number;
  /** Invocations that share out the rows of a column: 1, 2 or 4. */
  readonly teams: number;
}

/**
 * o of heads from `firstHead` on, given X of `deltaChunks`. The grid is (⌈C / columns⌉, heads): columns of the state do not
 * meet. Rows of `work` are first those of v − e ⊙ k S, then those of u.
 */
export function deltaRule({ channels, columns, teams }: DeltaRuleShape): Kernel<keyof typeof sizes | "columns"> {
  const barrier = teams === 1 ? "" : "workgroupBarrier();";
  const rounds = deltaChunk / tile / teams;
  /** x = Σ over j ≤ i of a matrix [64, 64] times `work`; j in the rows' own tile is told apart, as NaN · 0 is NaN. */
  const timesWork = (matrix: number) => {
    const product = (r: number) => `X[slot + ${matrix}u + (i0 + ${r}u) * ${deltaChunk}u + j] * u`;
    return `for (var j = 0u; j < i0; j++) {
let u = work[j * ${columns}u + own];
${unroll(tile, (r) => `x${r} += ${product(r)};`)}
}
for (var j = i0; j < i0 + ${tile}u; j++) {
let u = work[j * ${columns}u + own];
${unroll(tile, (r) => `x${r} = select(x${r}, x${r} + ${product(r)}, j <= i0 + ${r}u);`)}
}`;
  };
  const timesState = (rows: "Q" | "K") => `for (var h = 0u; h < ${channels}u; h++) {
let s = state[h * ${columns}u + own];
${unroll(tile, (r) => `x${r} += ${rows}[row${r} + h] * s;`)}
}`;
  const zeros = unroll(tile, (r) => `var x${r} = 0.0f;`);
  const ownTiles = `for (var i0 = team * ${tile}u; i0 < count; i0 += ${teams * tile}u)`;
  /** Channel h0 + r, or the last. */
  const channel = (r: number) => (channels % tile === 0 ? `h0 + ${r}u` : `min(h0 + ${r}u, ${channels - 1}u)`);

  return {
    key: `delta-rule ${channels} channels ${columns} columns ${teams} teams`,
    reads: { Q: "f32", K: "f32", V: "f32", X: "f32" },
    writes: "f32",
    params: { ...sizes, columns: "u32" },
    size: columns * teams,
    declarations: `var<workgroup> state: array<f32, ${channels * columns}>;
var<workgroup> work: array<f32, ${deltaChunk * columns}>;`,
    body: () => `
let own = ${teams === 1 ? "lane" : `lane % ${columns}u`};
let team = ${teams === 1 ? "0u" : `lane / ${columns}u`};
let column = group.x * ${columns}u + own;
let seen = min(column, p.columns - 1u);
let head = p.firstHead + group.y;
let keyHead = head / (p.heads / p.keyHeads);
let chunks = (p.tokens + ${deltaChunk - 1}u) / ${deltaChunk}u;
for (var h = team; h < ${channels}u; h += ${teams}u) { state[h * ${columns}u + own] = 0.0f; }
${barrier}
for (var chunk = 0u; chunk < chunks; chunk++) {
let first = chunk * ${deltaChunk}u;
let count = min(${deltaChunk}u, p.tokens - first);
let slot = (group.y * chunks + chunk) * ${deltaChunkFloats}u;
${ownTiles} {
${tokensOf(channels)}
${zeros}
${timesState("K")}
${unroll(tile, (r) => `work[(i0 + ${r}u) * ${columns}u + own] = V[(t${r} * p.heads + head) * p.columns + seen] - X[slot + ${at.e}u + i0 + ${r}u] * x${r};`)}
}
${barrier}
// In place from the last rows on, as none reads those behind it.
for (var round = ${rounds}u; round > 0u; round--) {
let i0 = ((round - 1u) * ${teams}u + team) * ${tile}u;
${zeros}
if (i0 < count) {
${timesWork(at.m)}
}
${barrier}
${unroll(tile, (r) => `work[(i0 + ${r}u) * ${columns}u + own] = x${r};`)}
${barrier}
}
${ownTiles} {
${tokensOf(channels)}
${zeros}
${timesState("Q")}
${unroll(tile, (r) => `x${r} *= X[slot + ${at.e}u + i0 + ${r}u];`)}
${timesWork(at.p)}
if (column < p.columns) {
${unroll(tile, (r) => `if (i0 + ${r}u < count) { Y[(t${r} * p.heads + head) * p.columns + column] = x${r}; }`)}
}
}
${barrier}
if (chunk + 1u < chunks) {
let fade = X[slot + ${at.e + deltaChunk - 1}u];
for (var h0 = team * ${tile}u; h0 < ${channels}u; h0 += ${teams * tile}u) {
${unroll(tile, (r) => `var x${r} = fade * state[(${channel(r)}) * ${columns}u + own];`)}
for (var j = 0u; j < ${deltaChunk}u; j++) {
let key = ((first + j) * p.keyHeads + keyHead) * ${channels}u;
let u = X[slot + ${at.f}u + j] * work[j * ${columns}u + own];
${unroll(tile, (r) => `x${r} += K[key + ${channel(r)}] * u;`)}
}
${unroll(tile, (r) => `if (h0 + ${r}u < ${channels}u) { state[(h0 + ${r}u) * ${columns}u + own] = x${r}; }`)}
}
${barrier}
}
}`,
  };
}

/** Columns of a workgroup: as many as the memory has room for, a power of two. */
export function deltaRuleColumns(channels: number, memoryBytes: number): number {
  let columns = 32;
  while (columns > 1 && 4 * (channels + deltaChunk) * columns > memoryBytes) columns /= 2;
  return columns;
}
