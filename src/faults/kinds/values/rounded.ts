// Tensors that went through a narrower type.
import { type Float, isFloat } from "../../../base/floats.ts";
import { cast } from "../../../views/cast.ts";
import { bytesOf } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { keysLike } from "../names.ts";

/** Tensors of a wider type than 16 bits. */
export const wide = (sample: Sample, pattern = /./): string[] =>
  keysLike(sample, pattern, ({ dtype }) => dtype === "F32" || dtype === "F64");

export function through({ source }: Sample, key: string, type: Float): Uint8Array {
  const { dtype } = source.tensors.get(key)!;
  if (!isFloat(dtype)) throw new RangeError(`${key} is ${dtype}`);
  return cast(cast(bytesOf(source, key), dtype, type), type, dtype);
}

const bf16 = tensorKind({
  name: "rounded-bf16",
  code: "ROUNDED",
  about: "a tensor that went through bf16, as a router that the trainer keeps in f32 (Automodel#2553, mlx-vlm#2053)",
  places: (sample) => wide(sample),
  bytes: (sample, key) => through(sample, key, "BF16"),
});

export const ROUNDED: readonly Kind[] = [bf16];
