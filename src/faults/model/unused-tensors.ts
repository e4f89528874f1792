// Tensors that the config has no use for, such as the bias of a projection that it gives none. Before a run, a table
// refuses tensors that it does not know. This fault is left where a table knows a tensor that no graph reads.
import { bytesOf, edited } from "../edit.ts";
import type { ModelFault } from "../fault.ts";

/** Keys of tensors that no step of a forward pass reads. */
type Keys = readonly string[];

/** The added bias has the size of this tensor. */
const NORM = "model.norm.weight";
const BIAS = "model.layers.0.mlp.down_proj.bias";

export const unusedTensors: ModelFault<Keys, Keys> = {
  code: "UNUSED_TENSORS",
  of: "model",
  places: ({ source }) => (source.tensors.has(NORM) && !source.tensors.has(BIAS) ? [BIAS] : []),
  make({ source, config }, key) {
    const norm = { bytes: bytesOf(source, NORM), info: source.tensors.get(NORM)! };
    return { source: edited(source, { [key]: norm }), config };
  },
  recognise: (keys) => (keys.length === 0 ? null : keys),
  words: () => "the checkpoint holds tensors that its config has no use for",
  mend: () => "check the config: layers, biases or a head may be switched off in it",
};
