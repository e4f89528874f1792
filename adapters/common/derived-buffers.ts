// Buffers that files may hold although every model computes them anew: older versions of transformers, and tools that
// save a module's buffers, wrote them.
import { type RopeSpec, transformersFrequencies } from "../../numerics/rope.ts";
import { type DropRule, drop } from "../../src/table/rule.ts";

/** θ^(-2i/H) of each layer, and of the model. `h` is the axis of rotary pairs. */
export function inverseFrequencies(rope: RopeSpec): DropRule[] {
  const derived = () => transformersFrequencies(rope).invFreq;
  return ["model.layers.{l}.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"].map((key) =>
    drop("hf", key, "derived buffer: θ^(-2i/H)", { dims: "h", derived }),
  );
}
