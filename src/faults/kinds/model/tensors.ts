// Tensors that are there and should not be, or the other way round.
import { bytesOf } from "../../edit.ts";
import { type Kind, withTensors } from "../kind.ts";

/** The added bias has the size of this tensor. */
const NORM = "model.norm.weight";
const BIAS = "model.layers.0.mlp.down_proj.bias";

const unused: Kind = {
  name: "tensor-added",
  code: "UNUSED_TENSORS",
  about: "a tensor that the config has no use for, such as the bias of a projection that has none",
  keepsShapes: false,
  places: ({ source }) => (source.tensors.has(NORM) && !source.tensors.has(BIAS) ? [BIAS] : []),
  make: (sample, key) =>
    withTensors(sample, {
      [key]: { bytes: () => bytesOf(sample.source, NORM), info: sample.source.tensors.get(NORM)! },
    }),
};

export const TENSORS: readonly Kind[] = [unused];
