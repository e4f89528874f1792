// Which tensors several families store quantised.
import type { EncodableTensors } from "../../src/family/encodable.ts";

/** Linear weights of a decoder with multi-head latent attention, by transformers' names. */
export const LATENT_FP8: EncodableTensors = { keys: ["_proj.weight", "_proj_with_mqa.weight"] };

/**
 * Experts stacked in one tensor; all else stays plain:
 *   huggingface/transformers@v5.23.0:src/transformers/integrations/mxfp4.py
 */
export const MXFP4_EXPERTS: EncodableTensors = {
  keys: [".mlp.experts.gate_up_proj", ".mlp.experts.down_proj"],
  plainModules: ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"],
};
