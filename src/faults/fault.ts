// What a fault is: how it is recognised by undoing it, its words and its mend. `kinds/` has the ways to make it.
import type { JsonObject } from "../base/json.ts";
import type { TensorSource } from "../views/tensor-source.ts";
import type { TensorCode } from "./codes.ts";
import type { Names, TensorPair } from "./pair.ts";

/** What a fault is made on: tensors in the canonical Hugging Face view, and the config.json that they belong to. */
export interface Sample {
  readonly source: TensorSource;
  readonly config: JsonObject;
}

/**
 * @typeParam Shown the evidence that `recognise` looks at
 * @typeParam Found what `recognise` learned. Callers hand it on to `words` and `mend` without knowing what is in it.
 */
interface AnyFault<Shown, Found> {
  /** Stands in reports as `cause.code`: public. */
  readonly code: string;
  /** Null where `shown` is not this fault. */
  recognise(shown: Shown): Found | null;
  /** The way out. */
  mend(found: Found): string;
}

/**
 * A fault of one tensor, recognised by undoing it; its words continue a sentence that begins with the tensor's key. Neither
 * side is taken to be the right one.
 */
export interface TensorFault<Found = unknown> extends AnyFault<TensorPair, Found> {
  readonly of: "tensor";
  readonly code: TensorCode;
  /** What differs. */
  words(found: Found, names: Names): string;
  /** It moves values, and leaves them as they are: it is sought, too, with one side taken to the other's narrower type. */
  readonly moves?: true;
}

/** A fault of the model as a whole: of its config, or of what its tensors are to each other. */
export interface ModelFault<Shown = unknown, Found = unknown> extends AnyFault<Shown, Found> {
  readonly of: "model";
  /** What is wrong. */
  words(found: Found): string;
}

export type Fault = TensorFault | ModelFault;
