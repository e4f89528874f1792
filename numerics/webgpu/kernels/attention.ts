// Fused attention with an online softmax (arXiv:2205.14135): no [T, T] scores in memory.
// Q [T, N, H], K and V [T, K, H], row-major; query head n uses key head ⌊n / (N/K)⌋. Query i sees keys
// [R[2i], R[2i + 1]), both ascending in i. A sink S[n] is a logit more in the softmax of head n.
import type { Kernel } from "../kernel.ts";
import { tanhOf } from "./elementwise.ts";
import { exponential } from "./exponential.ts";
import { unroll } from "./unroll.ts";

export type AttentionParam = "tokens" | "heads" | "kvHeads" | "scale" | "softcap";

export interface AttentionKernel extends Kernel<AttentionParam> {
  /** Queries a workgroup; the grid is (⌈T / queries⌉, N). */
  readonly queries: number;
}

const params = { tokens: "u32", heads: "u32", kvHeads: "u32", scale: "f32", softcap: "f32" } as const;

/** Below every score; finite, so that a row without a visible key so far makes no NaN. */
const lowest = "-3.0e38f";

/** First key that any query from q0 on can see, and the end of those that queries up to `last` can. */
const firstKey = "R[2u * q0]";
const endKey = (queries: number) => `R[2u * min(q0 + ${queries - 1}u, p.tokens - 1u) + 1u]`;

const readsOf = (type: string, hasSinks: boolean) => ({
  Q: type,
  K: type,
  V: type,
  R: "u32",
  ...(hasSinks ? { S: "f32" } : {}),
});

/** The softmax before the first key: nothing, or the sink. */
const before = (hasSinks: boolean) => (hasSinks ? { top: "S[head]", sum: "1.0f" } : { top: lowest, sum: "0.0f" });

export interface AttentionShape {
  /** Channels of queries and keys, then of values. */
  readonly channels: readonly [number, number];
  readonly hasSinks: boolean;
  readonly hasSoftcap?: boolean;
}

/** c · tanh(s / c) of a scaled score `s`, in a function, as its locals may not clash. */
const softcapOf = (hasSoftcap: boolean) =>
  hasSoftcap ? `fn capped(s: f32) -> f32 { let x = s / p.softcap; ${tanhOf("x")} return p.softcap * th; }` : "";
const scaled = (score: string, hasSoftcap: boolean) =>
  hasSoftcap ? `capped(${score} * p.scale)` : `${score} * p.scale`;

/**
 * One subgroup is one workgroup. For QKᵀ a lane owns a key and queries come by broadcast; for PV a lane owns channels
 * and probabilities come by shuffle.
 */
export function subgroupAttention(
  { channels, hasSinks, hasSoftcap = false }: AttentionShape,
  subgroupSize: number,
): AttentionKernel {
  const [qkChannels, vChannels] = channels;
  const start = before(hasSinks);
  const isVector = qkChannels % 4 === 0 && vChannels % 4 === 0;
  const width = isVector ? 4 : 1;
  const type = isVector ? "vec4f" : "f32";
  const groups = vChannels / width; // values that lanes share out
  const held = Math.ceil(groups / subgroupSize);
  const queries = Math.max(1, Math.min(subgroupSize, Math.floor(128 / width / held)));
  const keySets = 2;
  const sets = Array.from({ length: keySets }, (_, j) => j);
  const owned = Array.from({ length: held }, (_, c) => c);
  const component = (v: string, e: number) => (isVector ? `${v}[${e}]` : v);

  const score = (r: number) =>
    unroll(
      width,
      (e) =>
        `{ let b = subgroupBroadcast(${component("q", e)}, ${r}u); ${sets.map((j) => `s${r}_${j} += b * ${component(`k${j}`, e)};`).join(" ")} }`,
    );
  const soften = (r: number) => `{
${sets.map((j) => `let seen${j} = key${j} >= from${r} && key${j} < to${r}; s${r}_${j} = select(${lowest}, ${scaled(`s${r}_${j}`, hasSoftcap)}, seen${j});`).join("\n")}
let top = max(top${r}, subgroupMax(${sets.map((j) => `s${r}_${j}`).reduce((a, b) => `max(${a}, ${b})`)}));
let shrink = exponential(top${r} - top);
top${r} = top;
${sets.map((j) => `s${r}_${j} = select(0.0, exponential(s${r}_${j} - top), seen${j});`).join(" ")}
sum${r} = sum${r} * shrink + subgroupAdd(${sets.map((j) => `s${r}_${j}`).join(" + ")});
${owned.map((c) => `o${r}_${c} *= shrink;`).join(" ")} }`;
  const mix = (
    j: number,
  ) => `{ let v = (min(k0 + ${j * subgroupSize}u + l, p.tokens - 1u) * p.kvHeads + kvHead) * ${groups}u;
${owned.map((c) => `let v${c} = V[v + min(lane + ${c * subgroupSize}u, ${groups - 1}u)];`).join(" ")}
${unroll(queries, (r) => `{ let b = subgroupShuffle(s${r}_${j}, l); ${owned.map((c) => `o${r}_${c} += b * v${c};`).join(" ")} }`)} }`;
  const store = (
    r: number,
  ) => `if (q0 + ${r}u < p.tokens) { let y = ((q0 + ${r}u) * p.heads + head) * ${groups}u + lane;
${owned.map((c) => `if (lane + ${c * subgroupSize}u < ${groups}u) { Y[y + ${c * subgroupSize}u] = o${r}_${c} / sum${r}; }`).join("\n")} }`;

  return {
    key: `attention-subgroup ${qkChannels} ${vChannels} ${subgroupSize} lanes${hasSinks ? " sinks" : ""}${hasSoftcap ? " softcap" : ""}`,
    reads: readsOf(type, hasSinks),
    writes: type,
    params,
    size: subgroupSize,
    usesSubgroups: true,
    declarations: `${exponential}\n${softcapOf(hasSoftcap)}`,
    queries,
    // The last queries have most keys, so they begin first.
    body: () => `
let q0 = (groups.x - 1u - group.x) * ${queries}u;
let head = group.y;
let kvHead = head / (p.heads / p.kvHeads);
${unroll(queries, (r) => `let from${r} = R[2u * min(q0 + ${r}u, p.tokens - 1u)]; let to${r} = R[2u * min(q0 + ${r}u, p.tokens - 1u) + 1u]; var top${r} = ${start.top}; var sum${r} = ${start.sum}; ${owned.map((c) => `var o${r}_${c} = ${type}();`).join(" ")}`)}
let query = (min(q0 + lane, p.tokens - 1u) * p.heads + head) * ${qkChannels / width}u;
let end = ${endKey(queries)};
for (var k0 = ${firstKey}; k0 < end; k0 += ${keySets * subgroupSize}u) {
${unroll(queries, (r) => sets.map((j) => `var s${r}_${j} = 0.0f;`).join(" "))}
${unroll(keySets, (j) => `let key${j} = k0 + ${j * subgroupSize}u + lane; let key_at${j} = (min(key${j}, p.tokens - 1u) * p.kvHeads + kvHead) * ${qkChannels / width}u;`)}
for (var c = 0u; c < ${qkChannels / width}u; c++) {
let q = Q[query + c];
${sets.map((j) => `let k${j} = K[key_at${j} + c];`).join(" ")}
${unroll(queries, score)}
}
${unroll(queries, soften)}
for (var l = 0u; l < ${subgroupSize}u; l++) {
${unroll(keySets, mix)}
}
}
${unroll(queries, store)}`,
  };
}

/** Queries and keys a workgroup of the tile kernel, largest first. */
const tileShapes = [
  [8, 16],
  [8, 8],
  [4, 8],
  [4, 4],
  [2, 2],
] as const;

/**
 * Tiles of keys and values in workgroup memory, no subgroups: an invocation makes the score of one query and key, then
 * owns every `keys`-th channel of one query's output.
 * @param memoryBytes of workgroup memory that the adapter offers
 */
export function tileAttention(
  { channels, hasSinks, hasSoftcap = false }: AttentionShape,
  memoryBytes: number,
): AttentionKernel {
  const [qkChannels, vChannels] = channels;
  const start = before(hasSinks);
  const widest = Math.max(qkChannels, vChannels);
  const need = ([q, k]: readonly [number, number]) => 4 * (q * qkChannels + k * (widest + 1) + q * k);
  const [queries, keys] = tileShapes.find((shape) => need(shape) <= memoryBytes) ?? [1, 1];
  const size = queries * keys;
  const owned = Array.from({ length: Math.ceil(vChannels / keys) }, (_, c) => c);
  const pitch = widest + 1; // odd for even head sizes, so that neighbours read different banks
  const load = (from: string, width: number) => `for (var i = lane; i < ${keys * width}u; i += ${size}u) {
let t = min(k0 + i / ${width}u, p.tokens - 1u);
tile[i / ${width}u * ${pitch}u + i % ${width}u] = ${from}[(t * p.kvHeads + kvHead) * ${width}u + i % ${width}u];
}`;
  return {
    key: `attention-tile ${qkChannels} ${vChannels} ${queries}x${keys}${hasSinks ? " sinks" : ""}${hasSoftcap ? " softcap" : ""}`,
    reads: readsOf("f32", hasSinks),
    writes: "f32",
    params,
    size,
    queries,
    declarations: `${exponential}
${softcapOf(hasSoftcap)}
var<workgroup> query: array<f32, ${queries * qkChannels}>;
var<workgroup> tile: array<f32, ${keys * pitch}>;
var<workgroup> scores: array<f32, ${size}>;`,
    body: () => `
let q0 = (groups.x - 1u - group.x) * ${queries}u;
let head = group.y;
let kvHead = head / (p.heads / p.kvHeads);
let r = lane / ${keys}u;
let l = lane % ${keys}u;
let i = q0 + r;
let begin = R[2u * min(i, p.tokens - 1u)];
let end = R[2u * min(i, p.tokens - 1u) + 1u];
for (var e = lane; e < ${queries * qkChannels}u; e += ${size}u) {
query[e] = Q[(min(q0 + e / ${qkChannels}u, p.tokens - 1u) * p.heads + head) * ${qkChannels}u + e % ${qkChannels}u];
}
var top = ${start.top};
var sum = ${start.sum};
${owned.map((c) => `var o${c} = 0.0f;`).join(" ")}
for (var k0 = ${firstKey}; k0 < ${endKey(queries)}; k0 += ${keys}u) {
${load("K", qkChannels)}
workgroupBarrier();
var s = 0.0f;
for (var c = 0u; c < ${qkChannels}u; c++) { s += query[r * ${qkChannels}u + c] * tile[l * ${pitch}u + c]; }
let seen = k0 + l >= begin && k0 + l < end;
s = select(${lowest}, ${scaled("s", hasSoftcap)}, seen);
scores[lane] = s;
workgroupBarrier();
var newTop = top;
for (var j = 0u; j < ${keys}u; j++) { newTop = max(newTop, scores[r * ${keys}u + j]); }
let shrink = exponential(top - newTop);
top = newTop;
workgroupBarrier();
scores[lane] = select(0.0, exponential(s - top), seen);
${load("V", vChannels)}
workgroupBarrier();
sum *= shrink;
${owned.map((c) => `o${c} *= shrink;`).join(" ")}
for (var j = 0u; j < ${keys}u; j++) {
let b = scores[r * ${keys}u + j];
sum += b;
${owned.map((c) => `o${c} += b * tile[j * ${pitch}u + l + ${c * keys}u];`).join(" ")}
}
workgroupBarrier();
}
if (i < p.tokens) {
let y = (i * p.heads + head) * ${vChannels}u + l;
${owned.map((c) => `if (l + ${c * keys}u < ${vChannels}u) { Y[y + ${c * keys}u] = o${c} / sum; }`).join("\n")}
}`,
  };
}
