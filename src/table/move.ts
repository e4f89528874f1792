// What a compiled table asks of the converter: element moves between tensors, as nested strided copies.

/**
 * A nested loop over `sizes` (outermost first), in elements:
 * target[targetOffset + Σ iₐ·targetStrides[a]] = source[sourceOffset + Σ iₐ·sourceStrides[a]].
 * Axes that are adjacent on both sides are merged; a plain copy has one axis with both strides 1.
 */
export interface StridedCopy {
  readonly sourceOffset: number;
  readonly targetOffset: number;
  readonly sizes: readonly number[];
  readonly sourceStrides: readonly number[];
  readonly targetStrides: readonly number[];
}

export interface Piece extends StridedCopy {
  /** Key of the source tensor. */
  readonly source: string;
}

/** One target tensor. Its pieces cover every element exactly once; a re-created buffer has no pieces but `fill`. */
export interface Move {
  readonly key: string;
  readonly shape: readonly number[];
  readonly pieces: readonly Piece[];
  /** Value of a tensor that the source side does not have, in this dtype. */
  readonly fill?: { readonly value: number; readonly dtype: "F32" };
  /** The rule it comes from, in words, for plans and errors: `permuteRope`. */
  readonly rule: string;
}

export interface TablePlan {
  /** Every target tensor exactly once, in table order. */
  readonly moves: readonly Move[];
  /** Source tensors that must equal another byte for byte and are not carried over (ties). */
  readonly equalities: readonly { readonly alias: string; readonly of: string; readonly reason: string }[];
  /** Source tensors that have no place on the other side; `equals` is the value every element must have unless waived. */
  readonly dropped: readonly { readonly key: string; readonly reason: string; readonly equals?: number }[];
}
