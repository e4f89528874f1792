// What a report says of a fault that was found.

export interface Cause {
  /** Public, e.g. `ROPE_PERMUTED`. */
  readonly code: string;
  /** Hugging Face keys, or those of the files where no table was needed. */
  readonly tensors: readonly string[];
  /** Paths in config.json. */
  readonly fields: readonly string[];
  readonly explanation: string;
  readonly evidence: string;
  readonly fix: string;
}
