// Rows of f32 or bf16 as sums of f16, which is what matrix units multiply.
//
// A row whose largest |x| is in [2^(E-127), 2^(E-126)) is multiplied by 2^(141 - E), exactly, so that it ends below 2^15.
// Then x = high + 2^-11 low, high = f16(x), or 0 below 2^-14, as there are units that take subnormal f16 for 0, and
// low = f16(2^11 (x - high)). Both have 11 significant bits: what is left is at most 2^-23 |x|, a unit in the last place of
// f32, or 2^-39 of the row's largest, whichever is more.
// bf16 has 8 significant bits: one part, subnormal or not, is exact down to 2^-31 of the row's largest, and within 2^-38 of
// it below. To make a difference in f32, all larger weights of the row would have to meet x that are about 2^14 times as
// small as what the lost ones meet.
import type { Kernel } from "../kernel.ts";
import { flatIndex, flatSize } from "./elementwise.ts";
import type { Packing } from "./gemm.ts";

/** Where the largest element of a row is put: 2^14 to 2^15, as f16 ends at 2^16 and rounding goes up. */
const topExponent = 14;
/** Exponent fields that rows are scaled by: outside, 2^±(E - 141) or its inverse would be no f32. */
const exponents = [15, 254] as const;
/** f16 has 11 significant bits: `low` is multiplied by 2^11 to have the range of `high`. */
export const lowBits = 11;

/** WGSL: 2^(E - 141), what sums over a row are multiplied by. */
export const unscale = (exponent: string): string => `bitcast<f32>((${exponent} - ${topExponent}u) << 23u)`;
const scale = (exponent: string): string => `bitcast<f32>((${254 + topExponent}u - ${exponent}) << 23u)`;

const rowLanes = 64;

/**
 * Exponent field of the largest element of each row of X, whose `words` are f32 or pairs of bf16. One row per
 * workgroup.
 */
export const rowExponents = (packing: Packing): Kernel<"rows" | "words"> => ({
  key: `row-exponents ${packing}`,
  reads: { X: "u32" },
  writes: "u32",
  params: { rows: "u32", words: "u32" },
  size: rowLanes,
  declarations: `var<workgroup> tops: array<u32, ${rowLanes}>;`,
  body: () => `
let row = group.y * groups.x + group.x;
if (row >= p.rows) { return; }
var top = 0u;
for (var i = lane; i < p.words; i += ${rowLanes}u) {
let word = X[row * p.words + i];
top = max(top, (word >> 23u) & 255u);
${packing === "bf16" ? "top = max(top, (word >> 7u) & 255u);" : ""}
}
tops[lane] = top;
workgroupBarrier();
if (lane > 0u) { return; }
for (var i = 1u; i < ${rowLanes}u; i++) { top = max(top, tops[i]); }
Y[row] = clamp(top, ${exponents[0]}u, ${exponents[1]}u);`,
});

export interface SplitOptions {
  readonly packing: Packing;
  /** 1: high alone. 2: high and low. */
  readonly parts: 1 | 2;
  /** Rows and elements of K of a block. */
  readonly block: readonly [number, number];
}

/**
 * Blocks of a matrix, each contiguous: [rows / R][K / D][parts][R][D] f16, zeros beyond `rows` and `width`; one
 * invocation makes two neighbours. Rounded by integers, to nearest: WGSL lets conversions to f16 round either way, and there
 * and back be left out. Infinities become NaN.
 */
export function splitRows({ packing, parts, block: [R, D] }: SplitOptions): Kernel<"count" | SplitParam> {
  const perBlock = (R * D) / 2;
  const load =
    packing === "f32"
      ? `let at = row * p.pitch + k; x.x = bitcast<f32>(X[at]); if (k + 1u < p.width) { x.y = bitcast<f32>(X[at + 1u]); }`
      : `let q = X[(row * p.pitch + k) / 2u]; x = bitcast<vec2f>(vec2u(q << 16u, q & 0xffff0000u));`;
  return {
    key: `split ${packing} ${parts} parts ${R}x${D}`,
    reads: { X: "u32", E: "u32" },
    writes: "u32",
    params: { count: "u32", rows: "u32", width: "u32", pitch: "u32", steps: "u32" },
    size: flatSize,
    declarations: `fn rounded(x: vec2f) -> vec2f {
return bitcast<vec2f>((bitcast<vec2u>(x) + vec2u(0x1000u)) & vec2u(0xffffe000u));
}`,
    body: () => `${flatIndex("p.count")}
let block = i / ${perBlock}u;
let inside = i % ${perBlock}u;
let row = block / p.steps * ${R}u + inside / ${D / 2}u;
let k = block % p.steps * ${D}u + inside % ${D / 2}u * 2u;
var x = vec2f();
if (row < p.rows && k < p.width) { ${load} }
let isBad = (bitcast<vec2u>(x) & vec2u(0x7f800000u)) == vec2u(0x7f800000u);
let bad = select(vec2u(), vec2u(0x7e00u, 0x7e000000u), isBad);
let scaled = x * ${scale("E[min(row, p.rows - 1u)]")};
let high = ${parts === 1 ? "scaled" : "select(rounded(scaled), vec2f(), abs(scaled) < vec2f(0x1p-14f))"};
let to = block * ${parts * perBlock}u + inside;
Y[to] = pack2x16float(high) | bad.x | bad.y;
${parts === 1 ? "" : `Y[to + ${perBlock}u] = pack2x16float(rounded((scaled - high) * ${2 ** lowBits}.0f));`}`,
  };
}

/** Rows, elements of a row, elements from row to row in X, and blocks along K. */
export type SplitParam = "rows" | "width" | "pitch" | "steps";
