import { SHORT_CHAIN, type Summation } from "../../graph.ts";
import { type GemmKernel, gemmParams, type Packing, unpackHigh, unpackLow, wordType } from "./gemm.ts";
import { unroll } from "./unroll.ts";

export interface GemmTile {
  /** Rows and columns of Y a workgroup, and elements of K a step. */
  readonly tile: readonly [number, number, number];
  /** Rows and columns of Y an invocation; the columns are a multiple of 4. */
  readonly block: readonly [number, number];
}

export interface TileGemmOptions extends GemmTile {
  readonly packing: Packing;
  readonly hasBias: boolean;
  readonly summation: Summation;
}

/** Products that are usually added in one chain. */
const chainDepth = 1024;

/** Tiles that fit `bytes` of workgroup memory. */
export function tileFor(rows: number, bytes: number): GemmTile {
  const isLarge = rows > 256 && bytes >= 4 * 16 * 2 * (128 + 4);
  return { tile: isLarge ? [128, 128, 16] : [64, 64, 16], block: [8, 8] };
}

/**
 * Tiles of X and W go through workgroup memory, k-major, so that an invocation reads its rows and columns side by side.
 * Each output is a sum of chains of FMA, both in ascending k; it waits in Y for the next chain.
 */
export function tileGemm({ packing, hasBias, summation, tile, block }: TileGemmOptions): GemmKernel {
  const [rows, columns, depth] = tile;
  const [blockRows, blockColumns] = block;
  const chain = summation === "short" ? Math.max(SHORT_CHAIN, depth) : chainDepth;
  const across = columns / blockColumns;
  const size = across * (rows / blockRows);
  const wordElements = packing === "f32" ? 4 : 8;
  const vectors = Array.from({ length: blockColumns / 4 }, (_, j) => j);
  /** Padding keeps the transposing stores of neighbouring invocations in different banks. */
  const xPitch = rows + 4;
  const wPitch = columns + 4;

  const scatter = (to: string, pitch: number, elements: string[]) =>
    elements.map((value, e) => `${to}[(c + ${e}u) * ${pitch}u + r] = ${value};`).join(" ");
  const quad = (v: string) => ["x", "y", "z", "w"].map((e) => `${v}.${e}`);

  /** Words of a tile, dealt out to the invocations: word `i` is row r, elements c …, zero behind the end of K. */
  const words = (i: number, perRow: number, elements: number, tileRows: number, body: string) => {
    const guard = (i + 1) * size > tileRows * perRow ? `if (i < ${tileRows * perRow}u) ` : "";
    return `{ let i = lane + ${i * size}u; ${guard}{ let r = i / ${perRow}u; let c = (i % ${perRow}u) * ${elements}u; let k = k0 + c;
${body} } }`;
  };
  const loadX = (i: number) =>
    words(
      i,
      depth / 4,
      4,
      rows,
      `var x = vec4f(); if (k < p.depth) { x = X[(min(m0 + r, p.rows - 1u) * p.depth + k) / 4u]; }
${scatter("Xs", xPitch, quad("x"))}`,
    );
  const loadW = (i: number) =>
    words(
      i,
      depth / wordElements,
      wordElements,
      columns,
      `var q = ${wordType(packing)}(); if (k < p.depth) { q = W[(min(n0 + r, p.columns - 1u) * p.depth + k) / ${wordElements}u]; }
${
  packing === "f32"
    ? scatter("Ws", wPitch, quad("q"))
    : `let low = ${unpackLow("q")}; let high = ${unpackHigh("q")}; ${scatter("Ws", wPitch, [...quad("low"), ...quad("high")])}`
}`,
    );

  const store = (i: number, j: number) =>
    unroll(4, (e) => {
      const n = `n0 + tx * 4u + ${j * across * 4 + e}u`;
      return `if (m < p.rows && ${n} < p.columns) {
let at = m * p.stride + p.column + ${n};
var y = ${hasBias ? `B[p.bias + ${n}]` : "0.0f"};
if (begin > 0u) { y = Y[at]; }
Y[at] = y + a${i}_${j}[${e}];
}`;
    });

  return {
    key: `gemm-tile ${packing}${hasBias ? " bias" : ""} ${summation} ${tile.join("x")} by ${block.join("x")}`,
    reads: { X: "vec4f", W: wordType(packing), ...(hasBias ? { B: "f32" } : {}) },
    writes: "f32",
    params: gemmParams,
    size,
    tile: [rows, columns],
    declarations: `var<workgroup> Xs: array<f32, ${depth * xPitch}>;
var<workgroup> Ws: array<f32, ${depth * wPitch}>;`,
    body: () => `
let m0 = group.y * ${rows}u;
let n0 = group.x * ${columns}u;
let tx = lane % ${across}u;
let ty = lane / ${across}u;
for (var begin = 0u; begin < p.depth; begin += ${chain}u) {
${unroll(blockRows, (i) => vectors.map((j) => `var a${i}_${j} = vec4f();`).join(" "))}
for (var k0 = begin; k0 < min(begin + ${chain}u, p.depth); k0 += ${depth}u) {
${unroll(Math.ceil((rows * depth) / 4 / size), loadX)}
${unroll(Math.ceil((columns * depth) / wordElements / size), loadW)}
workgroupBarrier();
for (var k = 0u; k < ${depth}u; k++) {
${unroll(blockRows, (i) => `let x${i} = Xs[k * ${xPitch}u + ty * ${blockRows}u + ${i}u];`)}
${vectors.map((j) => `let w${j} = vec4f(${[0, 1, 2, 3].map((e) => `Ws[k * ${wPitch}u + tx * 4u + ${j * across * 4 + e}u]`).join(", ")});`).join("\n")}
${unroll(blockRows, (i) => vectors.map((j) => `a${i}_${j} = fma(vec4f(x${i}), w${j}, a${i}_${j});`).join(" "))}
}
workgroupBarrier();
}
${unroll(blockRows, (i) => `{ let m = m0 + ty * ${blockRows}u + ${i}u;\n${vectors.map((j) => store(i, j)).join("\n")} }`)}
}`,
  };
}
