// In a comparison, encoded weights are decoded to the type of the other side, so that we round nothing ourselves.
import type { HfView } from "./as-hf.ts";

/**
 * Both sides. Encoded tensors of an HF side are decoded in F32 where the other side holds F32: a trainer that loads FP8
 * into f32 rounds nothing, whatever the config declares. Elsewhere they are decoded to the declared dtype, to which a
 * conversion rounds them; with `afterCast`, those of a in F32 wherever b has another type, to which a cast rounds them.
 */
export function decodedAlike(
  [a, b]: readonly [HfView, HfView],
  { afterCast = false }: { readonly afterCast?: boolean | undefined } = {},
): readonly [HfView, HfView] {
  return [decodedLike(a, b, afterCast), decodedLike(b, a, false)];
}

function decodedLike(view: HfView, other: HfView, isCast: boolean): HfView {
  const { layout, source } = view.model;
  const encoded = [...source.tensors.values()].filter(({ encoding }) => encoding !== undefined);
  if (encoded.length === 0 || layout.side !== "hf" || source.unrounded === undefined) return view;
  const theirs = other.source.tensors;
  const isWide = (key: string, dtype: string) => {
    const type = theirs.get(key)?.dtype;
    return type === "F32" || (isCast && type !== undefined && type !== dtype);
  };
  const wide = encoded.filter(({ key, dtype }) => isWide(key, dtype)).map(({ key }) => key);
  return wide.length === 0 ? view : view.widened(new Set(wide));
}
