// Which tensors of a family a storage encoding takes, where nothing but the encoding's name tells: files that are stored
// so, or were, tell by themselves.

export const ENCODINGS = ["fp8", "mxfp4"] as const;
export type EncodingName = (typeof ENCODINGS)[number];

export interface EncodableTensors {
  /** Ends of their HF keys: `.mlp.experts.down_proj`. */
  readonly keys: readonly string[];
  /** `modules_to_not_convert` of a config that had no `quantization_config` before. */
  readonly plainModules?: readonly string[];
}

/** By encoding. A family without a word on FP8 has it on every `*_proj.weight`; without one on MXFP4 it has none. */
export type Encodable = { readonly [Name in EncodingName]?: EncodableTensors };
