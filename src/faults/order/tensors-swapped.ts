// Gate and up, keys and values, or two experts in each other's place. Their shapes are the same.
import { bytesOf, edited, keysWhere } from "../edit.ts";
import type { Sample, TensorFault } from "../fault.ts";

/**
 * Another matrix of the same dtype and shape whose key has another word, or another expert's number, in one place. Layers
 * are not exchanged: which step reads a tensor would change with them.
 */
function partnerOf({ source }: Sample, key: string): string | undefined {
  const { dtype, shape } = source.tensors.get(key)!;
  if (shape.length < 2) return undefined;
  const words = key.split(".");
  const fits = (other: string): boolean => {
    const others = other.split(".");
    const differing = words.flatMap((word, i) => (word === others[i] ? [] : [i]));
    return others.length === words.length && differing.length === 1 && words[differing[0]! - 1] !== "layers";
  };
  return keysWhere({ source, config: {} }, (info) => {
    return info.dtype === dtype && `${info.shape}` === `${shape}` && info.key !== key;
  }).find(fits);
}

export const tensorsSwapped: TensorFault<{ readonly owner: string }> = {
  code: "TENSORS_SWAPPED",
  of: "tensor",
  places: (sample) => keysWhere(sample, ({ key }) => partnerOf(sample, key) !== undefined),
  make(sample, key) {
    const { source, config } = sample;
    const partner = partnerOf(sample, key)!;
    const swapped = { [key]: { bytes: bytesOf(source, partner) }, [partner]: { bytes: bytesOf(source, key) } };
    return { source: edited(source, swapped), config };
  },
  recognise: ({ key, owner }) => (owner === undefined || owner === key ? null : { owner }),
  words: ({ owner }) => `holds what belongs to "${owner}"`,
  mend: () => "exchange the tensors: gate and up, keys and values, or experts, fit each other's places",
};
