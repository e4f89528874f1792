import { SHORT_CHAIN, type Summation } from "../../graph.ts";
import { type GemmKernel, gemmParams, type Packing, unpackHigh, unpackLow, wordType } from "./gemm.ts";
import { unroll } from "./unroll.ts";

export interface GemmTile {
  /** Rows and columns of Y a workgroup, and elements of K a step. */
  readonly tile: readonly [number, number, number];
  /** Rows and columns of Y an invocation. */
  readonly block: readonly [number, number];
}

export interface TileGemmOptions extends GemmTile {
  readonly packing: Packing;
  readonly hasBias: boolean;
  readonly summation: Summation;
}

/** Products that are usually added in one chain. */
const chainDepth = 1024;

/** vec4f from row to row of a tile in workgroup memory: odd, so that neighbouring rows begin in different banks. */
const pitchOf = (depth: number): number => Math.floor(depth / 8) * 2 + 1;

/** Tiles that fit `bytes` of workgroup memory. */
export function tileFor(rows: number, bytes: number): GemmTile {
  const isLarge = rows > 256 && bytes >= 16 * pitchOf(16) * (128 + 128);
  return { tile: isLarge ? [128, 128, 16] : [64, 64, 16], block: [8, 8] };
}

/**
 * Tiles of X and W go through workgroup memory, in which rows lie as they come; the next tiles are on their way while
 * these are multiplied. An invocation multiplies 4 elements of K at a time, of neighbouring rows of X and of every
 * so-many-th of W, so that invocations side by side read and write side by side.
 * Each output is a sum of chains of FMA, both in ascending k; it waits in Y for the next chain.
 */
export function tileGemm({ packing, hasBias, summation, tile, block }: TileGemmOptions): GemmKernel {
  const [rows, columns, depth] = tile;
  const [blockRows, blockColumns] = block;
  const chain = summation === "short" ? Math.max(SHORT_CHAIN, depth) : chainDepth;
  const across = columns / blockColumns;
  const size = across * (rows / blockRows);
  const pitch = pitchOf(depth);
  const outputs = (line: (i: number, j: number) => string) =>
    unroll(blockRows, (i) => unroll(blockColumns, (j) => line(i, j)));

  const sides = [
    { name: "x", word: "vec4f", elements: 4, from: "X", first: "m0", count: "p.rows", tileRows: rows },
    {
      name: "w",
      word: wordType(packing),
      elements: packing === "f32" ? 4 : 8,
      from: "W",
      first: "n0",
      count: "p.columns",
      tileRows: columns,
    },
  ].map((side) => ({ ...side, perRow: depth / side.elements, words: (side.tileRows * depth) / side.elements }));
  type Side = (typeof sides)[number];

  /** Lines for each word of a tile that an invocation carries: word `i` of the tile, element `c` of row `r`. */
  const carried = ({ name, words, perRow }: Side, line: (word: string) => string) =>
    unroll(Math.ceil(words / size), (n) => {
      const guard = (n + 1) * size > words ? `if (i < ${words}u) ` : "";
      return `{ let i = lane + ${n * size}u; ${guard}{ let r = i / ${perRow}u; let c = i % ${perRow}u; ${line(`${name}Next${n}`)} } }`;
    });
  const declare = ({ name, word, words }: Side) =>
    unroll(Math.ceil(words / size), (n) => `var ${name}Next${n} = ${word}();`);
  const load = (side: Side, at: string) =>
    carried(side, (word) => {
      const row = `min(${side.first} + r, ${side.count} - 1u)`;
      return `let k = ${at} + c * ${side.elements}u; ${word} = ${side.word}();
if (k < p.depth) { ${word} = ${side.from}[(${row} * p.depth + k) / ${side.elements}u]; }`;
    });
  const place = (side: Side) =>
    carried(side, (word) =>
      side.elements === 4
        ? `${side.name}Tile[r * ${pitch}u + c] = ${word};`
        : `let to = r * ${pitch}u + 2u * c; ${side.name}Tile[to] = ${unpackLow(word)}; ${side.name}Tile[to + 1u] = ${unpackHigh(word)};`,
    );
  const each = (line: (side: Side) => string) => sides.map(line).join("\n");

  const product = (i: number, j: number) => {
    const fma = (sum: string, e: string) => `fma(x${i}.${e}, w${j}.${e}, ${sum})`;
    return `a${i}_${j} = ${["x", "y", "z", "w"].reduce(fma, `a${i}_${j}`)};`;
  };
  const store = (i: number, j: number) => `{ let m = m0 + ty * ${blockRows}u + ${i}u; let n = n0 + tx + ${j * across}u;
if (m < p.rows && n < p.columns) {
let at = m * p.stride + p.column + n;
var y = ${hasBias ? "B[p.bias + n]" : "0.0f"};
if (begin > 0u) { y = Y[at]; }
Y[at] = y + a${i}_${j};
} }`;

  return {
    key: `gemm-tile ${packing}${hasBias ? " bias" : ""} ${summation} ${tile.join("x")} by ${block.join("x")}`,
    reads: { X: "vec4f", W: wordType(packing), ...(hasBias ? { B: "f32" } : {}) },
    writes: "f32",
    params: gemmParams,
    size,
    tile: [rows, columns],
    declarations: each(({ name, tileRows }) => `var<workgroup> ${name}Tile: array<vec4f, ${tileRows * pitch}>;`),
    body: () => `
let m0 = group.y * ${rows}u;
let n0 = group.x * ${columns}u;
let tx = lane % ${across}u;
let ty = lane / ${across}u;
${each(declare)}
${each((side) => load(side, "0u"))}
for (var begin = 0u; begin < p.depth; begin += ${chain}u) {
${outputs((i, j) => `var a${i}_${j} = 0.0f;`)}
for (var k0 = begin; k0 < min(begin + ${chain}u, p.depth); k0 += ${depth}u) {
workgroupBarrier();
${each(place)}
workgroupBarrier();
${each((side) => load(side, `k0 + ${depth}u`))}
for (var q = 0u; q < ${depth / 4}u; q++) {
${unroll(blockRows, (i) => `let x${i} = xTile[(ty * ${blockRows}u + ${i}u) * ${pitch}u + q];`)}
${unroll(blockColumns, (j) => `let w${j} = wTile[(tx + ${j * across}u) * ${pitch}u + q];`)}
${outputs(product)}
}
}
${outputs(store)}
}`,
  };
}
