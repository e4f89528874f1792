// What a storage encoding is: codes and scales that stand for one logical tensor. Tables see the logical one alone.
import { ENCODINGS, type EncodingName } from "../family/encodable.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";

/** What a conversion may be asked to write: `auto` is what the target's config says, `none` is plain. */
export const ENCODING_CHOICES = ["auto", "none", ...ENCODINGS] as const;

/** One logical tensor and what it is stored as. */
export interface EncodedTensor {
  readonly encoding: Encoding;
  /** Key and shape of the logical tensor. */
  readonly key: string;
  readonly shape: readonly number[];
  /** Keys that it is stored under. */
  readonly codes: string;
  readonly scales: string;
}

/**
 * Codes and scales lie row-major and in step with the logical elements: code i is that of element i, and every element
 * has one scale, whose index `scaleIndex` gives.
 */
export interface Encoding {
  readonly name: EncodingName;
  /** Elements that share a byte of codes: 1, or 2 with the first in the low nibble. */
  readonly codesPerByte: 1 | 2;
  /** Stored tensors of a logical one. */
  stored(tensor: Pick<EncodedTensor, "key" | "shape">): { readonly codes: TensorInfo; readonly scales: TensorInfo };
  /** Index of the scale of element (row, column) of the logical tensor seen as rows along its last axis. */
  scaleIndex(shape: readonly number[], row: number, column: number): number;
  /** Elements that a scale stands for, where scales lie in step with these. */
  readonly group?: number;
  /** Columns from `column` on that have the same scale. */
  run(shape: readonly number[], column: number): number;
  /** f32 value of a code under a scale as it is stored. */
  value(code: number, scale: number): number;
  /** The same of many: `out[from, to)` of the codes from the one with index `at` on, all under one scale. */
  decode(codes: Uint8Array, at: number, scale: number, out: Float32Array, from: number, to: number): void;
  /** Numbers that scales are stored as. */
  readonly scaleDtype: "F32" | "U8";
  /** The canonical scale of elements whose largest magnitude is `amax`. */
  scaleOf(amax: number): number;
  /** The code of a value under a scale. */
  code(value: number, scale: number): number;
  /** The same of many: `values[from, to)` become the codes from index `at` on; whatever stood there goes. */
  encode(values: Float32Array, from: number, to: number, scale: number, codes: Uint8Array, at: number): void;
  /** Whether a code stands for NaN. */
  readonly hasNaN: boolean;
  /** Rows that share a row of scales. A scale is computed from at most this many rows. */
  readonly rowsPerScale: number;
}
