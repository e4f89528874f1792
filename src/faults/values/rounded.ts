// A tensor that went through bf16, such as a router or a norm that the trainer keeps in f32 (Automodel#2553).
import type { Float } from "../../base/floats.ts";
import { cast } from "../../views/cast.ts";
import type { TensorFault } from "../fault.ts";

/** The values that a cast to `type` leaves. */
function roundedTo(values: Float64Array, type: Float): Float64Array {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return new Float64Array(cast(cast(bytes, "F64", type), type, "F64").buffer);
}

export const rounded: TensorFault<{ readonly type: Float; readonly different: number; readonly of: number }> = {
  code: "ROUNDED",
  of: "tensor",
  recognise(pair) {
    // Either may be the rounded one: the reference is a side, not the right side.
    const isRounding = (values: Float64Array, of: Float64Array, type: Float) => {
      const made = roundedTo(of, type);
      return values.every((value, i) => Object.is(value, made[i]));
    };
    const type = (["BF16", "F16"] as const).find(
      (each) => isRounding(pair.found, pair.expected, each) || isRounding(pair.expected, pair.found, each),
    );
    return type === undefined ? null : { type, different: pair.different, of: pair.expected.length };
  },
  words: ({ type, different, of }) => `is rounded to ${type}: ${different} of ${of} elements differ`,
  mend: () => "keep the element type of this tensor",
};
