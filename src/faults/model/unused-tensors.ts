// Tensors that the config has no use for, such as the bias of a projection that it gives none. Before a run, a table
// refuses tensors that it does not know. This fault is left where a table knows a tensor that no graph reads.
import type { ModelFault } from "../fault.ts";

/** Keys of tensors that no step of a forward pass reads. */
type Keys = readonly string[];

export const unusedTensors: ModelFault<Keys, Keys> = {
  code: "UNUSED_TENSORS",
  of: "model",
  recognise: (keys) => (keys.length === 0 ? null : keys),
  words: () => "the checkpoint holds tensors that its config has no use for",
  mend: () => "check the config: layers, biases or a head may be switched off in it",
};
