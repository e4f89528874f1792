// What one rank holds of a tensor that is spread over several.
import type { Dtype } from "../../base/dtype.ts";
import type { LocalBox } from "./placements.ts";
import type { TensorView } from "./rebuild.ts";

export interface RankPart {
  readonly dtype: Dtype;
  /** Of the whole tensor. */
  readonly shape: readonly number[];
  readonly pieces: readonly { readonly view: TensorView; readonly box: LocalBox }[];
  /** How it is spread, in words: ranks of one save say the same. */
  readonly spread: string;
  /** The rank that saved it, by what the file says. */
  readonly rank: number | null;
  /** Those that hold a part of it. */
  readonly holders: readonly number[];
  /** How many ranks there were, where that is said. */
  readonly world: number | null;
}
