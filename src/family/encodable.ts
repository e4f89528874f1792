// Which tensors of a family `--encoding` encodes where nothing but the encoding's name is given. Files that are, or
// were, stored encoded say it themselves.

export const ENCODINGS = ["fp8", "mxfp4"] as const;
export type EncodingName = (typeof ENCODINGS)[number];

export interface EncodableTensors {
  /** Ends of their HF keys: `.mlp.experts.down_proj`. */
  readonly keys: readonly string[];
  /** `modules_to_not_convert` of a config that had no `quantization_config` before. */
  readonly plainModules?: readonly string[];
}

/**
 * By encoding. Without an entry for FP8, every `*_proj.weight` is encoded. Without an entry for MXFP4, no tensor is.
 */
export type Encodable = { readonly [Name in EncodingName]?: EncodableTensors };
