// In a comparison, encoded weights are decoded to the type of the other side, so that we round nothing ourselves.
import type { HfView } from "./as-hf.ts";

/**
 * Both sides. Encoded tensors of an HF side are decoded in F32 where the other side holds F32: a trainer that loads FP8
 * into f32 rounds nothing, whatever the config declares. Elsewhere they are decoded to the declared dtype, to which a
 * conversion rounds them.
 */
export function decodedAlike([a, b]: readonly [HfView, HfView]): readonly [HfView, HfView] {
  return [decodedLike(a, b), decodedLike(b, a)];
}

function decodedLike(view: HfView, other: HfView): HfView {
  const { layout, source } = view.model;
  const encoded = [...source.tensors.values()].filter(({ encoding }) => encoding !== undefined);
  if (encoded.length === 0 || layout.side !== "hf" || source.unrounded === undefined) return view;
  const theirs = other.source.tensors;
  const wide = encoded.map(({ key }) => key).filter((key) => theirs.get(key)?.dtype === "F32");
  return wide.length === 0 ? view : view.widened(new Set(wide));
}
