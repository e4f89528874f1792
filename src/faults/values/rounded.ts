// A tensor that went through bf16, such as a router or a norm that the trainer keeps in f32 (Automodel#2553).
import { isFloat } from "../../base/floats.ts";
import { cast } from "../../views/cast.ts";
import { bytesOf, keysWhere, withBytes } from "../edit.ts";
import type { TensorFault } from "../fault.ts";
import { HALF_ULP } from "../pair.ts";

export const rounded: TensorFault<{ readonly different: number; readonly of: number }> = {
  code: "ROUNDED",
  of: "tensor",
  places: (sample) => keysWhere(sample, ({ dtype }) => dtype === "F32" || dtype === "F64"),
  make(sample, key) {
    const { dtype } = sample.source.tensors.get(key)!;
    if (!isFloat(dtype)) throw new RangeError(`${key} is ${dtype}`);
    return withBytes(sample, key, cast(cast(bytesOf(sample.source, key), dtype, "BF16"), "BF16", dtype));
  },
  recognise(pair) {
    const isRounded = pair.every((value, x) => Math.abs(x - value) <= HALF_ULP * Math.abs(value));
    return isRounded ? { different: pair.different, of: pair.expected.length } : null;
  },
  words: ({ different, of }) => `is rounded: ${different} of ${of} elements differ, by 2^-8 at most`,
  mend: () => "keep the element type of this tensor",
};
