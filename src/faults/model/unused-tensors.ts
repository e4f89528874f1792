// Tensors that the config has no use for, such as the bias of a projection that it gives none. Tables refuse what they do
// not know before a run; this is left where a table knows more than the graph reads.
import { bytesOf, edited } from "../edit.ts";
import type { ModelFault } from "../fault.ts";

/** Keys of tensors that no step of a forward pass reads. */
type Keys = readonly string[];

/** As large as the bias that is added, were it not switched off. */
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
