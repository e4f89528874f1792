// What both matrix kernels compute: Y[m, column + n] = Σₖ X[m, k] · W[n, k] (+ B[bias + n]), X and W with K padded.
import type { Kernel } from "../kernel.ts";

/** How a weight lies on the device: f32, or pairs of bf16 in a u32, the first in the low half. */
export type Packing = "f32" | "bf16";

/** Rows of X and W are padded with zeros to a multiple of this many elements: 16 bytes of bf16. */
export const kAlignment = 8;

export type GemmParam = "rows" | "columns" | "depth" | "stride" | "column" | "bias";

export interface GemmKernel extends Kernel<GemmParam> {
  /** Rows and columns of Y that one workgroup computes. */
  readonly tile: readonly [number, number];
}

export const gemmParams = {
  /** Rows of X and Y in this call. */
  rows: "u32",
  /** Rows of W in this call. */
  columns: "u32",
  /** Padded K. */
  depth: "u32",
  /** Elements in a row of Y. */
  stride: "u32",
  /** Column of Y that the first row of W makes. */
  column: "u32",
  /** Index in B of the first row of W. */
  bias: "u32",
} as const;

/** WGSL type of the elements that a row of W is read by: 4 f32 or 8 bf16. */
export const wordType = (packing: Packing): string => (packing === "f32" ? "vec4f" : "vec4u");

/** bf16 is the upper half of an f32, so unpacking is exact. */
export const unpackLow = (word: string): string =>
  `vec4f(bitcast<f32>(${word}.x << 16u), bitcast<f32>(${word}.x & 0xffff0000u), bitcast<f32>(${word}.y << 16u), bitcast<f32>(${word}.y & 0xffff0000u))`;
export const unpackHigh = (word: string): string =>
  `vec4f(bitcast<f32>(${word}.z << 16u), bitcast<f32>(${word}.z & 0xffff0000u), bitcast<f32>(${word}.w << 16u), bitcast<f32>(${word}.w & 0xffff0000u))`;
