// A tensor of the model that stands in its own place and in another's, too: a layer twice, a norm in two roles.
import type { TensorFault } from "../fault.ts";

export const tensorRepeated: TensorFault<{ readonly owner: string }> = {
  code: "TENSOR_REPEATED",
  of: "tensor",
  moves: true,
  recognise: (pair) => (pair.owner !== undefined && pair.isOwnerInPlace ? { owner: pair.owner } : null),
  words: ({ owner }, { one }) => `holds in ${one} what belongs to "${owner}", which has it, too`,
  mend: () => "give this tensor its own values: a loop over layers, experts or names took one of them twice",
};
