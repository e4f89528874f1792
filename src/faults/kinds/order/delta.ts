// Linear attention (gated delta net): convolutions, decays and projections in another order (Qwen3.5 ports).

import { recalculated } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { along, exchanged, parts, regrouped, reversed, rolled } from "../axes.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { keysLike, numberOf, textConfig } from "../names.ts";
import { exchangedTensors, fits } from "./swapped.ts";

interface DeltaSizes {
  readonly keyHeads: number;
  readonly keyDim: number;
  readonly valueHeads: number;
  readonly valueDim: number;
}

function sizesOf({ config }: Sample): DeltaSizes {
  const text = textConfig(config);
  const size = (field: string) => numberOf(text, [`linear_${field}`]);
  return {
    keyHeads: size("num_key_heads"),
    keyDim: size("key_head_dim"),
    valueHeads: size("num_value_heads"),
    valueDim: size("value_head_dim"),
  };
}

/** Rows of queries, keys and values. */
function rowsOf(sample: Sample): readonly [number, number, number] {
  const { keyHeads, keyDim, valueHeads, valueDim } = sizesOf(sample);
  return [keyHeads * keyDim, keyHeads * keyDim, valueHeads * valueDim];
}

const delta = (sample: Sample, name: string): string[] => keysLike(sample, new RegExp(`\\.linear_attn\\.${name}$`));

/** q, k and v of each key head together, where all queries come first. */
function byKeyHead(sample: Sample): (row: number) => number {
  const { keyHeads, keyDim, valueHeads, valueDim } = sizesOf(sample);
  const sizes = [keyDim, keyDim, (valueHeads / keyHeads) * valueDim].flatMap((size) =>
    Array.from({ length: keyHeads }, () => size),
  );
  const order = parts(
    sizes,
    Array.from({ length: 3 * keyHeads }, (_, i) => regrouped(3, keyHeads)(i, 0)),
  );
  return (row) => order(row, 0);
}

const kind = tensorKind;

const ORDER: readonly Kind[] = [
  kind({
    name: "delta-conv-flipped",
    code: "FLIPPED",
    about: "the taps of the convolution from the newest to the oldest",
    places: (sample) => delta(sample, "conv1d\\.weight"),
    bytes(sample, key) {
      const { shape } = sample.source.tensors.get(key)!;
      return along(sample.source, key, { axis: shape.length - 1 }, reversed(shape.at(-1)!));
    },
  }),
  kind({
    name: "delta-conv-qk-exchanged",
    code: "ROWS_REORDERED",
    alsoCodes: ["FUSED_SPLIT", "HALVES_SWAPPED"],
    about: "channels of the convolution as k, q, v where the projection gives q, k, v",
    places: (sample) => delta(sample, "conv1d\\.weight"),
    bytes: (sample, key) => along(sample.source, key, { axis: 0 }, parts(rowsOf(sample), [1, 0, 2])),
  }),
  kind({
    name: "delta-projection-qk-exchanged",
    code: "ROWS_REORDERED",
    alsoCodes: ["FUSED_SPLIT", "HALVES_SWAPPED"],
    about: "the joint projection as k, q, v: queries and keys have one shape",
    places: (sample) => delta(sample, "in_proj_qkv\\.weight"),
    bytes: (sample, key) => along(sample.source, key, { axis: 0 }, parts(rowsOf(sample), [1, 0, 2])),
  }),
  kind({
    name: "delta-projection-by-head",
    code: "ROWS_REORDERED",
    alsoCodes: ["FUSED_SPLIT"],
    about: "the joint projection head by head where all queries come first",
    places: (sample) => (sizesOf(sample).keyHeads > 1 ? delta(sample, "in_proj_qkv\\.weight") : []),
    bytes: (sample, key) => along(sample.source, key, { axis: 0 }, byKeyHead(sample)),
  }),
  kind({
    name: "delta-gate-heads-reordered",
    code: "ROWS_REORDERED",
    about: "heads of the output gate in another order than those of the values",
    places: (sample) => (sizesOf(sample).valueHeads > 2 ? delta(sample, "in_proj_z\\.weight") : []),
    bytes(sample, key) {
      const { valueHeads, valueDim } = sizesOf(sample);
      const [, ...rest] = sample.source.tensors.get(key)!.shape;
      return along(sample.source, key, { shape: [valueHeads, valueDim, ...rest], axis: 0 }, rolled(valueHeads));
    },
  }),
  {
    name: "delta-a-b-swapped",
    code: "TENSORS_SWAPPED",
    about: "projections of decay and of beta in each other's place",
    keepsShapes: true,
    places: (sample) => delta(sample, "in_proj_a\\.weight").filter((key) => fits(sample, key, partner(key))),
    make: (sample, key) => exchangedTensors(sample, key, partner(key)),
  },
  {
    name: "delta-decay-bias-swapped",
    code: "TENSORS_SWAPPED",
    about: "A_log and dt_bias in each other's place: a number a head each",
    keepsShapes: true,
    places: (sample) => delta(sample, "A_log").filter((key) => fits(sample, key, key.replace("A_log", "dt_bias"))),
    make: (sample, key) => exchangedTensors(sample, key, key.replace("A_log", "dt_bias")),
  },
];

const partner = (key: string): string => key.replace("in_proj_a", "in_proj_b");

const VALUES: readonly Kind[] = [
  kind({
    name: "delta-decay-exponential",
    code: "LOG_EXP",
    about: "A where the model has its logarithm",
    places: (sample) => delta(sample, "A_log"),
    bytes: ({ source }, key) => recalculated(source, key, Math.exp),
  }),
  kind({
    name: "delta-decay-negated",
    code: "SIGN_FLIPPED",
    alsoCodes: ["LOG_EXP"],
    about: "minus A_log: the decay is another sign's",
    places: (sample) => delta(sample, "A_log"),
    bytes: ({ source }, key) => recalculated(source, key, (x) => -x),
  }),
  kind({
    name: "delta-time-bias-zero",
    code: "ZEROED",
    about: "dt_bias left at zero",
    places: (sample) => delta(sample, "dt_bias"),
    bytes: ({ source }, key) => recalculated(source, key, () => 0),
  }),
  kind({
    name: "delta-decay-heads-exchanged",
    code: "ROWS_REORDERED",
    alsoCodes: ["HALVES_SWAPPED"],
    about: "the decays of the first and the last head in each other's place",
    places: (sample) => delta(sample, "A_log"),
    bytes: (sample, key) => along(sample.source, key, { axis: 0 }, exchanged(0, sizesOf(sample).valueHeads - 1)),
  }),
];

export const DELTA: readonly Kind[] = [...ORDER, ...VALUES];
