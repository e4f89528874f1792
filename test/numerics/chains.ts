import type { WeightSource } from "../../numerics/backend.ts";
import { decode } from "../../numerics/js/decode.ts";
import { elementCount } from "../../src/base/dtype.ts";

export function floats(source: WeightSource): Float32Array {
  const out = new Float32Array(elementCount(source.shape));
  decode(source, 0, out);
  return out;
}

/**
 * x · Wᵀ for x [·, inputs] and W [·, inputs]: chains of `depth` products, then their sum, in ascending k, as f32 hardware
 * without fused multiply-add rounds them.
 */
export function chains(x: Float32Array, w: Float32Array, inputs: number, depth: number): Float32Array {
  const outputs = w.length / inputs;
  const f32 = Math.fround;
  return Float32Array.from({ length: (x.length / inputs) * outputs }, (_, i) => {
    const [m, n] = [Math.floor(i / outputs), i % outputs];
    let sum = 0;
    for (let begin = 0; begin < inputs; begin += depth) {
      let chain = 0;
      for (let k = begin; k < Math.min(begin + depth, inputs); k++) {
        chain = f32(chain + f32(x[m * inputs + k]! * w[n * inputs + k]!));
      }
      sum = f32(sum + chain);
    }
    return sum;
  });
}
