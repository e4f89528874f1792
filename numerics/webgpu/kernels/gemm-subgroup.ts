import { SHORT_CHAIN, type Summation } from "../../graph.ts";
import { type GemmKernel, gemmParams, type Packing, unpackHigh, unpackLow, wordType } from "./gemm.ts";
import { unroll } from "./unroll.ts";

export interface SubgroupGemmOptions {
  readonly packing: Packing;
  readonly hasBias: boolean;
  readonly summation: Summation;
  /** Invocations in a subgroup of the adapter, at least 4. */
  readonly subgroupSize: number;
  /** Rows of Y a workgroup. */
  readonly tileRows: number;
}

/** Products that are usually added in one chain. Chains are added to each other, so that rounding errors grow slowly with K. */
export const chainDepth = 256;

/** Columns of Y a lane. More spill registers on lavapipe. */
const laneColumns = 4;

/**
 * One subgroup is one workgroup: its lanes own columns of Y, and share rows of X by broadcast, so that every loaded
 * value serves `tileRows` or `laneColumns · subgroupSize` products. No workgroup memory, no barriers.
 * Each output is a sum of chains of multiply and add, both in ascending k; a GPU may contract them to FMA.
 */
export function subgroupGemm(options: SubgroupGemmOptions): GemmKernel {
  const { packing, hasBias, summation, subgroupSize, tileRows } = options;
  const quads = packing === "f32" ? 1 : 2; // vec4f of X a step, as many as one word of W holds
  const stepDepth = 4 * quads;
  const chain = (summation === "short" ? SHORT_CHAIN : chainDepth) / stepDepth;
  const rowsPerLoad = subgroupSize / quads;
  const columns = Array.from({ length: laneColumns }, (_, j) => j);

  /** Lane l holds quad l % quads of row l / quads. */
  const product = (i: number, k: number) =>
    `{ let x = subgroupBroadcast(x${Math.floor(i / rowsPerLoad)}[${k & 3}], ${(i % rowsPerLoad) * quads + (k >> 2)}u);
${columns.map((j) => `a${i}_${j} += x * w${j}_${k >> 2}[${k & 3}];`).join(" ")} }`;

  const loadW = (j: number) =>
    packing === "f32"
      ? `let w${j}_0 = W[w${j} + k];`
      : `let q${j} = W[w${j} + k]; let w${j}_0 = ${unpackLow(`q${j}`)}; let w${j}_1 = ${unpackHigh(`q${j}`)};`;

  const store = (i: number) => `if (m0 + ${i}u < p.rows) { let at = (m0 + ${i}u) * p.stride + p.column + n0;
${columns
  .map((j) => {
    const value = hasBias ? `y${i}_${j} + b${j}` : `y${i}_${j}`;
    return `if (n0 + ${j * subgroupSize}u < p.columns) { Y[at + ${j * subgroupSize}u] = ${value}; }`;
  })
  .join("\n")} }`;
  const loadBias = (j: number) => `let b${j} = B[p.bias + min(n0 + ${j * subgroupSize}u, p.columns - 1u)];`;

  const loads = Math.ceil(tileRows / rowsPerLoad);
  return {
    key: `gemm-subgroup ${packing}${hasBias ? " bias" : ""} ${summation} ${subgroupSize} lanes ${tileRows} rows`,
    reads: { X: "vec4f", W: wordType(packing), ...(hasBias ? { B: "f32" } : {}) },
    writes: "f32",
    params: gemmParams,
    size: subgroupSize,
    usesSubgroups: true,
    tile: [tileRows, laneColumns * subgroupSize],
    body: () => `
let m0 = group.y * ${tileRows}u;
let n0 = group.x * ${laneColumns * subgroupSize}u + lane;
let xStride = p.depth / 4u;
let steps = p.depth / ${stepDepth}u;
${unroll(tileRows, (i) => columns.map((j) => `var y${i}_${j} = 0.0f;`).join(" "))}
${unroll(laneColumns, (j) => `let w${j} = min(n0 + ${j * subgroupSize}u, p.columns - 1u) * steps;`)}
${unroll(loads, (r) => `let r${r} = min(m0 + ${r * rowsPerLoad}u + lane / ${quads}u, p.rows - 1u) * xStride + lane % ${quads}u;`)}
for (var k0 = 0u; k0 < steps; k0 += ${chain}u) {
${unroll(tileRows, (i) => columns.map((j) => `var a${i}_${j} = 0.0f;`).join(" "))}
for (var k = k0; k < min(k0 + ${chain}u, steps); k++) {
${unroll(loads, (r) => `let x${r} = X[r${r} + k * ${quads}u];`)}
${unroll(laneColumns, loadW)}
${unroll(tileRows, (i) => unroll(stepDepth, (k) => product(i, k)))}
}
${unroll(tileRows, (i) => columns.map((j) => `y${i}_${j} += a${i}_${j};`).join(" "))}
}
${hasBias ? unroll(laneColumns, loadBias) : ""}
${unroll(tileRows, store)}`,
  };
}
