// Gate and up, keys and values, or two experts in each other's place. Their shapes are the same.
import type { TensorFault } from "../fault.ts";

export const tensorsSwapped: TensorFault<{ readonly owner: string }> = {
  code: "TENSORS_SWAPPED",
  of: "tensor",
  recognise: ({ key, owner }) => (owner === undefined || owner === key ? null : { owner }),
  words: ({ owner }) => `holds what belongs to "${owner}"`,
  mend: () => "exchange the tensors: gate and up, keys and values, or experts, fit each other's places",
};
