// The arguments of a plan: a direction, the tensors at hand, and the choices of the user or of the record.
import type { Dtype } from "../base/dtype.ts";
import type { FieldSwitch, TableFault } from "./faults/fault.ts";

export type Direction = "toHf" | "fromHf";

/** A tensor of the source; where it is stored encoded, the logical tensor. */
export interface SourceTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly encoding?: string;
}
export type Source = ReadonlyMap<string, SourceTensor>;

export interface PlanOptions {
  /** Which aliases to write, by canonical key, where the record knows; else the rule decides. */
  readonly aliases?: ReadonlyMap<string, boolean>;
  /** Spelling to write for a canonical key, from the record. */
  readonly spelling?: ReadonlyMap<string, string>;
  /** Order of dims to write, from the record; the canonical one unless given. */
  readonly order?: string;
  /** As of a TablePlan: HF keys of the tensors in that order where others are in the canonical one. */
  readonly orderAt?: readonly string[];
  /** Form of native files to write; "" unless given. */
  readonly form?: string;
  /** Whether tensors that the source lacks are re-created; true unless given. */
  readonly buffers?: boolean;
  /** Source tensors without a rule that the user lets go. */
  readonly allowDrop?: (key: string) => boolean;
  /** Encoding that a target tensor will be stored under, if it declares dims of its own. */
  readonly targetEncoding?: (key: string) => string | undefined;
  /** Whether one target tensor may be made of source tensors of several dtypes, because they are cast to one. */
  readonly mixedDtypes?: boolean;
  /**
   * Whether to plan around tensors that are missing, misshapen, unknown or there twice instead of throwing. The plan lists
   * them, and is else as if nothing were missing: moves, ties and drops may name keys that are at fault.
   */
  readonly tolerate?: boolean;
  /** Finds the field of the config that switches tensors at fault on or off; null where there is none. */
  readonly switchOf?: (faults: readonly TableFault[]) => FieldSwitch | null;
}
