// Gate and up, keys and values, two experts, two norms or two layers in each other's place. Their shapes are the same.
import type { TensorFault } from "../fault.ts";

export const tensorsSwapped: TensorFault<{ readonly owner: string }> = {
  code: "TENSORS_SWAPPED",
  of: "tensor",
  moves: true,
  recognise: (pair) => (pair.owner === undefined || pair.isOwnerInPlace ? null : { owner: pair.owner }),
  words: ({ owner }, { one }) => `holds in ${one} what belongs to "${owner}"`,
  mend: () =>
    "give each tensor its own values: gate and up, keys and values, norms, experts and layers fit each other's places",
};
