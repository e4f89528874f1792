// Tensors that are there and should not be, or the other way round.
import { bytesOf } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { type Kind, type Made, withTensors } from "../kind.ts";
import { expertCount, keysLike, layerOf } from "../names.ts";

/** The added bias has the size of this tensor. */
const NORM = "model.norm.weight";
const BIAS = "model.layers.0.mlp.down_proj.bias";

const without = (sample: Sample, keys: readonly string[]): Made =>
  withTensors(sample, Object.fromEntries(keys.map((key) => [key, null])));

const MISSING = { code: "MISSING_TENSOR", keepsShapes: false } as const;

const EXPERT = /^(.+\.experts\.\d+)\.[a-z_]+\.weight$/;

export const TENSORS: readonly Kind[] = [
  {
    name: "tensor-added",
    code: "UNUSED_TENSORS",
    alsoCodes: ["UNKNOWN_TENSOR"],
    about: "a tensor that the config has no use for, such as the bias of a projection that has none",
    keepsShapes: false,
    places: ({ source }) => (source.tensors.has(NORM) && !source.tensors.has(BIAS) ? [BIAS] : []),
    make: (sample, key) =>
      withTensors(sample, {
        [key]: { bytes: () => bytesOf(sample.source, NORM), info: sample.source.tensors.get(NORM)! },
      }),
  },
  {
    name: "tensor-dropped",
    ...MISSING,
    about: "one matrix left out: its key was not mapped (Megatron-Bridge#5262, transformers#46650)",
    places: (sample) => keysLike(sample, /\.(?:down_proj|o_proj|fc2)\.weight$/).filter((key) => !/experts/.test(key)),
    make: (sample, key) => without(sample, [key]),
  },
  {
    name: "bias-dropped",
    ...MISSING,
    about: "a bias left out that is not zero",
    places: (sample) => keysLike(sample, /\.bias$|expert_bias$|e_score_correction_bias$|_proj_bias$/),
    make: (sample, key) => without(sample, [key]),
  },
  {
    name: "layer-dropped",
    ...MISSING,
    about: "the last layer left out whole, as with a shard that was never copied (Megatron-Bridge#4188, AReaL#1403)",
    places(sample) {
      const last = keysLike(sample, /\.layers\.\d+\./).toSorted((a, b) => layerOf(b)!.layer - layerOf(a)!.layer)[0];
      return last === undefined ? [] : [last];
    },
    make(sample, place) {
      const { stack, layer } = layerOf(place)!;
      return without(
        sample,
        [...sample.source.tensors.keys()].filter((key) => key.startsWith(`${stack}${layer}.`)),
      );
    },
  },
  {
    name: "expert-dropped",
    ...MISSING,
    alsoCodes: ["SHAPE_MISMATCH"],
    about: "one expert left out, the last one of a layer (torchtitan 0.3.0's gpt_oss adapter drops all of them)",
    places: (sample) => {
      const last = expertCount(sample) - 1;
      return keysLike(sample, EXPERT).filter((key) => key.includes(`.experts.${last}.up_proj`));
    },
    make(sample, place) {
      const expert = EXPERT.exec(place)![1]!;
      return without(
        sample,
        keysLike(sample, EXPERT).filter((key) => key.startsWith(`${expert}.`)),
      );
    },
  },
  {
    name: "experts-renamed",
    code: "UNKNOWN_TENSOR",
    alsoCodes: ["MISSING_TENSOR", "UNKNOWN_FAMILY"],
    about:
      "experts' weights under another revision's name: older checkpoints load into nothing (torchtitan#3425, #3557)",
    keepsShapes: false,
    places: (sample) => keysLike(sample, /\.experts\..*down_proj/).slice(0, 1),
    make(sample) {
      const renamed = keysLike(sample, /\.experts\..*down_proj/).flatMap((key) => [
        [key, null] as const,
        [
          key.replace("down_proj", "inner_experts.w2_EDF"),
          { bytes: () => bytesOf(sample.source, key), info: sample.source.tensors.get(key)! },
        ] as const,
      ]);
      return withTensors(sample, Object.fromEntries(renamed));
    },
  },
];
