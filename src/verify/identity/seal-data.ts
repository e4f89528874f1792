// What a seal holds.
import type { RoundingOf } from "../../model/record.ts";
import type { TensorIdentity } from "../../views/identity/merkle.ts";
import type { ConfigIdentity } from "./config.ts";

export interface SealedTensor extends TensorIdentity {
  /**
   * Of a tensor that is stored in codes: all digits of the decoded values, in F32. The tensor's own type is the one that
   * the config declares, to which they are rounded.
   */
  readonly exact?: { readonly dtype: "F32"; readonly sha256: string };
}

export interface Seal {
  /** Whose names and dims the tensors have: Hugging Face's, or, where the family is not known, those of the files. */
  readonly view: "hf" | "raw";
  /** Null where it is not known. */
  readonly family: string | null;
  /** Over `tensors`, in hex. */
  readonly root: string;
  /** Null where the family is not known. */
  readonly config: ConfigIdentity | null;
  /** By the bytes of their names. Aliases, derived buffers and trainer state are no part of the model. */
  readonly tensors: readonly SealedTensor[];
  /** Names that the config ties to another: alias → tensor. */
  readonly ties: Readonly<Record<string, string>>;
  /** Codes and scales as they are stored, and a root over them; null where weights are stored plain. */
  readonly encoded: { readonly root: string; readonly tensors: readonly TensorIdentity[] } | null;
  /** What it is a rounding of, where the record of its conversion tells. */
  readonly roundingOf: RoundingOf | null;
}
