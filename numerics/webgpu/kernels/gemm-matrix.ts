import { SHORT_CHAIN, type Summation } from "../../graph.ts";
import type { MatrixShape } from "../device/description.ts";
import { type GemmKernel, gemmParams, type Packing } from "./gemm.ts";
import { lowBits, unscale } from "./split.ts";
import { unroll } from "./unroll.ts";

export interface MatrixGemmOptions {
  readonly shape: MatrixShape;
  /** Matrices of Y a subgroup, down and across. */
  readonly matrices: readonly [number, number];
  readonly packing: Packing;
  readonly hasBias: boolean;
  readonly summation: Summation;
  readonly subgroupSize: number;
}

/** Products of one chain in the matrix unit, which may cut where f32 would round. */
const chainDepth = 256;
/** f16 matrices that W becomes: bf16 fits one, f32 two. */
export const weightParts = (packing: Packing): 1 | 2 => (packing === "bf16" ? 1 : 2);

/**
 * One subgroup is one workgroup. X and W are `splitRows` in blocks of the unit's sizes, with `rowExponents`; sums of
 * high · high and of high · low + low · high are kept apart, as the second is 2^11 times too large. What is left out,
 * low · low, is below 2^-22 of a product; where W is bf16 there is none.
 */
export function matrixGemm({
  shape,
  matrices,
  packing,
  hasBias,
  summation,
  subgroupSize,
}: MatrixGemmOptions): GemmKernel {
  const { M, N, K } = shape;
  const [down, across] = matrices;
  const chain = (summation === "short" ? Math.max(SHORT_CHAIN, K) : chainDepth) / K;
  const parts = weightParts(packing);
  const sums = (line: (i: number, j: number) => string) => unroll(down, (i) => unroll(across, (j) => line(i, j)));
  const load = (side: "left" | "right", at: string) =>
    side === "left"
      ? `subgroupMatrixLoad<subgroup_matrix_left<f16, ${K}, ${M}>, row_major>(&X, ${at}, ${K}u)`
      : `subgroupMatrixLoad<subgroup_matrix_right<f16, ${N}, ${K}>, col_major>(&W, ${at}, ${K}u)`;
  const add = (sum: string, x: string, w: string) => `${sum} = subgroupMatrixMultiplyAccumulate(${x}, ${w}, ${sum});`;

  /** Said, as a declaration without a value in a loop was seen to keep the last turn's (Dawn of npm webgpu 0.6.2). */
  const zero = `subgroup_matrix_result<f32, ${N}, ${M}>()`;

  const loadX = (i: number) => `let x${i} = ((group.y * ${down}u + ${i}u) * steps + k) * ${2 * M * K}u;
let xh${i} = ${load("left", `x${i}`)}; let xl${i} = ${load("left", `x${i} + ${M * K}u`)};`;
  const loadW = (j: number) => `let w${j} = ((group.x * ${across}u + ${j}u) * steps + k) * ${parts * N * K}u;
let wh${j} = ${load("right", `w${j}`)}; ${parts === 2 ? `let wl${j} = ${load("right", `w${j} + ${N * K}u`)};` : ""}`;
  const store = (i: number, j: number) => `workgroupBarrier();
subgroupMatrixStore<row_major>(&sums, 0u, h${i}_${j}, ${N}u);
subgroupMatrixStore<row_major>(&sums, ${M * N}u, l${i}_${j}, ${N}u);
workgroupBarrier();
for (var e = lane; e < ${M * N}u; e += ${subgroupSize}u) {
let m = m0 + ${i * M}u + e / ${N}u;
let n = n0 + ${j * N}u + e % ${N}u;
if (m < p.rows && n < p.columns) {
let at = m * p.stride + p.column + n;
var y = ${hasBias ? "B[p.bias + n]" : "0.0f"};
if (begin > 0u) { y = Y[at]; }
Y[at] = y + (sums[e] + ${2 ** -lowBits}f * sums[e + ${M * N}u]) * ${unscale("XE[m]")} * ${unscale("WE[n]")};
} }`;

  return {
    key: `gemm-matrix ${M}x${N}x${K} by ${down}x${across} ${packing}${hasBias ? " bias" : ""} ${summation} ${subgroupSize} lanes`,
    reads: { X: "f16", W: "f16", XE: "u32", WE: "u32", ...(hasBias ? { B: "f32" } : {}) },
    writes: "f32",
    params: gemmParams,
    size: subgroupSize,
    usesMatrices: true,
    tile: [down * M, across * N],
    declarations: `var<workgroup> sums: array<f32, ${2 * M * N}>;`,
    body: () => `
let m0 = group.y * ${down * M}u;
let n0 = group.x * ${across * N}u;
let steps = p.depth / ${K}u;
for (var begin = 0u; begin < steps; begin += ${chain}u) {
${sums((i, j) => `var h${i}_${j} = ${zero}; var l${i}_${j} = ${zero};`)}
for (var k = begin; k < min(begin + ${chain}u, steps); k++) {
${unroll(down, loadX)}
${unroll(across, loadW)}
${sums((i, j) => add(`h${i}_${j}`, `xh${i}`, `wh${j}`) + add(`l${i}_${j}`, `xl${i}`, `wh${j}`))}
${parts === 2 ? sums((i, j) => add(`l${i}_${j}`, `xh${i}`, `wl${j}`)) : ""}
}
${sums(store)}
}`,
  };
}
