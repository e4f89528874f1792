// Which kernel suits the adapter and the sizes at hand.
import type { Summation } from "../graph.ts";
import type { KernelFamily, MatrixShape } from "./device/description.ts";
import { type AttentionKernel, type AttentionShape, subgroupAttention, tileAttention } from "./kernels/attention.ts";
import type { GemmKernel, Packing } from "./kernels/gemm.ts";
import type { MatrixGemmOptions } from "./kernels/gemm-matrix.ts";
import { subgroupGemm } from "./kernels/gemm-subgroup.ts";
import { type GemmTile, tileFor, tileGemm } from "./kernels/gemm-tile.ts";

/** What the choice depends on. */
export interface KernelTraits {
  readonly family: KernelFamily;
  readonly subgroupSize: number;
  readonly workgroupMemoryBytes: number;
  /** Matrix units, where the adapter offers some that suit and they passed `checkProducts`. */
  readonly matrix?: MatrixShape | undefined;
  /** Tiles of `tileGemm`, if not those that suit a real GPU. */
  readonly gemmTile?: GemmTile;
}

export interface LinearSizes {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly summation: Summation;
}

/** Multiply-adds from which 32 rows a subgroup repay their longer compilation (lavapipe). */
const manyProducts = 2 ** 27;

/** Matrices a subgroup: with two sums each, as many as the registers of 32 lanes hold in 16 x 16. */
const matrices = [2, 4] as const;
/** Rows that repay splitting W. */
const matrixRows = 32;

/** The product on matrix units, if there are some and it is large enough. */
export function matrixFor(
  { matrix, subgroupSize }: KernelTraits,
  { rows, summation }: LinearSizes,
  packing: Packing,
  hasBias: boolean,
): MatrixGemmOptions | undefined {
  if (matrix === undefined || rows < matrixRows) return undefined;
  return { shape: matrix, matrices, packing, hasBias, summation, subgroupSize };
}

export function gemmFor(
  traits: KernelTraits,
  { rows, inputs, outputs, summation }: LinearSizes,
  packing: Packing,
  hasBias: boolean,
): GemmKernel {
  if (traits.family === "tile") {
    return tileGemm({
      packing,
      hasBias,
      summation,
      ...(traits.gemmTile ?? tileFor(rows, traits.workgroupMemoryBytes)),
    });
  }
  const isLarge = rows >= 64 && rows * inputs * outputs >= manyProducts;
  // 16 rows of bf16, 32 of f32: more spill registers.
  const tileRows = packing === "f32" && isLarge ? 32 : 16;
  return subgroupGemm({ packing, hasBias, summation, subgroupSize: traits.subgroupSize, tileRows });
}

export function attentionFor(traits: KernelTraits, shape: AttentionShape): AttentionKernel {
  return traits.family === "tile"
    ? tileAttention(shape, traits.workgroupMemoryBytes)
    : subgroupAttention(shape, traits.subgroupSize);
}

/** Invocations a row of a norm: on the CPU as many as a subgroup has, as a barrier among several is slow there. */
export const normLanes = (traits: KernelTraits): number => (traits.family === "tile" ? 64 : traits.subgroupSize);
