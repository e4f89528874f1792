// What the configs of Qwen3-Next and Qwen3.5 have in common: gated delta nets with attention over all tokens between them.
//   huggingface/transformers@v5.23.0:src/transformers/models/qwen3_next/configuration_qwen3_next.py
import type { ConfigReader } from "../config-reader.ts";

/** Gated delta nets (arXiv:2412.06464): nValueHeads / nKeyHeads value heads share a key head. */
export interface DeltaNet {
  readonly nKeyHeads: number;
  readonly nValueHeads: number;
  readonly keyHeadDim: number;
  readonly valueHeadDim: number;
  /** Tokens that the convolution over q, k and v sees. */
  readonly kernel: number;
}

const NOT_READ = "is not what transformers makes of this family";

/** Those that `layer_types` names, else every `full_attention_interval`-th. Ascending. */
export function parseFullLayers(config: ConfigReader, nLayers: number): readonly number[] {
  if (!config.has("layer_types")) {
    const interval = config.size("full_attention_interval", 4);
    return range(nLayers).filter((layer) => (layer + 1) % interval === 0);
  }
  const types = config.list("layer_types");
  if (types.length !== nLayers || types.some((type) => type !== "full_attention" && type !== "linear_attention"))
    config.fail("layer_types", `"full_attention" or "linear_attention" for each of ${nLayers} layers`);
  return range(nLayers).filter((layer) => types[layer] === "full_attention");
}

/**
 * `output_gate_type` names the function of the gate behind a delta net. transformers has no such field, and always takes
 * SiLU; Qwen3.6's configs give it by its other name.
 */
export function parseDeltaNet(config: ConfigReader): DeltaNet {
  config.onlyActivation("output_gate_type", "silu");
  config.only("attn_output_gate", true, NOT_READ);
  const nKeyHeads = config.size("linear_num_key_heads", 16);
  const nValueHeads = config.size("linear_num_value_heads", 32);
  if (nValueHeads % nKeyHeads !== 0)
    config.fail("linear_num_value_heads", `a multiple of linear_num_key_heads (${nKeyHeads})`);
  return {
    nKeyHeads,
    nValueHeads,
    keyHeadDim: config.size("linear_key_head_dim", 128),
    valueHeadDim: config.size("linear_value_head_dim", 128),
    kernel: config.size("linear_conv_kernel_dim", 4),
  };
}

/** Axes of a table: j key heads, w value heads, K and V channels of each, s tokens of the convolution, one input a filter. */
export const deltaAxes = (delta: DeltaNet) => ({
  j: delta.nKeyHeads,
  w: delta.nValueHeads,
  K: delta.keyHeadDim,
  V: delta.valueHeadDim,
  s: delta.kernel,
  one: 1,
});

/** Of the head that predicts a second token: its one layer, and two widths of the model side by side, which it reads. */
export const secondAxes = (dim: number) => ({ second: [0], both: 2 * dim });

export const range = (size: number): number[] => Array.from({ length: size }, (_, i) => i);
