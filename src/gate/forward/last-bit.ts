// How far logits move where every weight moves by its last bit: what weights of the same type may differ by.
import { FLOAT_BYTES, isFloat } from "../../base/floats.ts";
import type { TensorSource } from "../../views/tensor-source.ts";

/** The same tensors, each float with its last bit turned round: one step up or down, as its neighbours have it. */
export function withLastBitTurned(source: TensorSource): TensorSource {
  return {
    tensors: source.tensors,
    read(key, begin, target) {
      source.read(key, begin, target);
      const dtype = source.tensors.get(key)?.dtype;
      if (dtype === undefined || !isFloat(dtype)) return;
      const width = FLOAT_BYTES[dtype];
      // Little endian: the last bit is in an element's first byte.
      const first = (width - (begin % width)) % width;
      for (let at = first; at < target.length; at += width) target[at]! ^= 1;
    },
  };
}
