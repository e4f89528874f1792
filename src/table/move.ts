// Moves of elements between tensors, as nested strided copies: the output of a plan.
import type { TolerableFault } from "./faults/fault.ts";

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

/**
 * One target tensor. Its pieces cover every element exactly once (a tensor without elements has a piece of size 0); a
 * re-created buffer has no pieces but `fill`.
 */
export interface Move {
  readonly key: string;
  readonly shape: readonly number[];
  readonly pieces: readonly Piece[];
  /** Value of a tensor that the source side does not have, in this dtype. */
  readonly fill?: { readonly value: number; readonly dtype: "F32" };
  /** The rule it comes from, in words, for plans and errors: `permuteRope`. */
  readonly rule: string;
}

export interface Dropped {
  readonly key: string;
  readonly reason: string;
  /** Value of every element, where the tensor would be re-created with it. */
  readonly equals?: number;
  /** Values that the config gives, row-major; the tensor's agree within a relative error of 1e-5 or its dtype's ulp. */
  readonly derived?: () => Float32Array;
  /** As of its rule. */
  readonly help?: string;
}

export interface TablePlan {
  /** Every target tensor exactly once, in table order. */
  readonly moves: readonly Move[];
  /** Source tensors that must equal another byte for byte and are not carried over (ties). */
  readonly equalities: readonly { readonly alias: string; readonly of: string; readonly reason: string }[];
  /** Source tensors that have no place on the other side; unless waived, their values must be as `Dropped` says. */
  readonly dropped: readonly Dropped[];
  /** Source tensors that are not spelled canonically: canonical key → key in the source, for the record. */
  readonly spelling: ReadonlyMap<string, string>;
  /** Order of dims that the source has, where it is not the canonical one, for the record. */
  readonly order: string | null;
  /**
   * HF keys of tensors in that order, the first of each group at each index, where others are in the canonical one; empty
   * where all are.
   */
  readonly orderAt: readonly string[];
  /** Form of native files that the native side is in; "" is the usual one. */
  readonly form: string;
  /** Source tensors whose values must not be rounded along with all others: key in the source → why. */
  readonly critical: ReadonlyMap<string, string>;
  /** Source tensors whose values are other on the target's side: key in the source → what is added. */
  readonly plus: ReadonlyMap<string, number>;
  /** Parts of the model that the config describes and the HF side does not have. */
  readonly absent: readonly string[];
  /** What is wrong with the source; empty unless the plan was to tolerate it. */
  readonly faults: readonly TolerableFault[];
}
