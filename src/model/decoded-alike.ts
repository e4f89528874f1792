// In a comparison, encoded weights are decoded to the type of the other side, so that we round nothing ourselves.

import { hfView } from "../views/hf-view.ts";
import type { Side } from "./sides.ts";

/**
 * Both sides. Encoded tensors of an HF side are decoded in F32 where the other side holds F32: a trainer that loads FP8
 * into f32 rounds nothing, whatever the config declares. Elsewhere they are decoded to the declared dtype, to which a
 * conversion rounds them.
 */
export function decodedAlike([a, b]: readonly [Side, Side]): readonly [Side, Side] {
  return [decodedLike(a, b), decodedLike(b, a)];
}

function decodedLike(side: Side, other: Side): Side {
  const { encoded, layout, model } = side;
  if (encoded.size === 0 || layout.side !== "hf" || model.unrounded === undefined) return side;
  const theirs = hfView(other).source.tensors;
  const wide = new Set([...encoded.keys()].filter((key) => theirs.get(key)?.dtype === "F32"));
  return wide.size === 0 ? side : { ...side, model: model.unrounded(wide) };
}
