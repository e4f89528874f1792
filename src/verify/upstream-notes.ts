// What versions of upstream make of the files of a model.
import type { Model } from "../model/model.ts";

/** Tensors of another element type than the rest, which some versions of transformers keep and others round. */
export function upstreamNotes({ family, layout, source }: Model): string[] {
  if (layout.side !== "hf") return [];
  const tensors = [...source.tensors.values()];
  return family.changes.flatMap(({ project, lastBefore, before, after, stores }) => {
    if (stores === undefined) return [];
    const { ending, dtype } = stores;
    const own = tensors.filter((tensor) => tensor.key.endsWith(ending) && tensor.dtype === dtype);
    const isPlain = tensors.some((tensor) => tensor.dtype !== dtype && !own.includes(tensor));
    if (own.length === 0 || !isPlain) return [];
    return [
      `${own.length} tensors "…${ending}" are ${dtype}, unlike the rest: ${project} up to ${lastBefore} ${before}; after it, it ${after}`,
    ];
  });
}
