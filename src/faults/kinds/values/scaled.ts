// A tensor's values times a factor, or with another constant, sign or none.
import { recalculated } from "../../edit.ts";
import type { Sample } from "../../fault.ts";
import { type Kind, tensorKind } from "../kind.ts";
import { isVision, keysLike, textConfig } from "../names.ts";

/** The largest value of an F8_E4M3: what a block's largest value is scaled to. */
const LARGEST_CODE = 448;

const matrices = (sample: Sample): string[] => keysLike(sample, /./, ({ shape }) => shape.length > 1);

export const SCALED: readonly Kind[] = [
  tensorKind({
    name: "scale-not-applied",
    code: "SCALED",
    about: "a matrix 448 times as large: its scale was not applied (unsloth#6200)",
    places: matrices,
    bytes: ({ source }, key) => recalculated(source, key, (x) => LARGEST_CODE * x),
  }),
  tensorKind({
    name: "scaled-a-little",
    code: "SCALED",
    about: "a matrix 1.003 times as large: a scale of another block, or applied twice",
    places: (sample) => keysLike(sample, /./, ({ shape, dtype }) => shape.length > 1 && dtype === "F32"),
    bytes: ({ source }, key) => recalculated(source, key, (x) => 1.003 * x),
  }),
  tensorKind({
    name: "scaled-by-head-size",
    code: "SCALED",
    about: "queries times the square root of the head's size: attention's scale folded in on one side",
    places: (sample) => keysLike(sample, /\.q_proj\.weight$/, ({ key }) => !isVision(key)),
    bytes(sample, key) {
      const head = Number(textConfig(sample.config).head_dim ?? 16);
      return recalculated(sample.source, key, (x) => x * Math.sqrt(head));
    },
  }),
  tensorKind({
    name: "negated",
    code: "SIGN_FLIPPED",
    about: "a matrix with the other sign",
    places: (sample) => keysLike(sample, /\.(?:v_proj|o_proj|down_proj|dense)\.weight$/),
    bytes: ({ source }, key) => recalculated(source, key, (x) => -x),
  }),
];

const SMALL = { code: "ZEROED" } as const;

export const ZEROED: readonly Kind[] = [
  tensorKind({
    name: "sinks-zero",
    ...SMALL,
    about: "attention sinks left at zero (gpt-oss ports)",
    places: (sample) => keysLike(sample, /\.sinks$/),
    bytes: ({ source }, key) => recalculated(source, key, () => 0),
  }),
  tensorKind({
    name: "bias-zero",
    ...SMALL,
    about: "a bias left at zero",
    places: (sample) => keysLike(sample, /\.bias$|_bias$/, ({ key }) => !/e_score_correction_bias|dt_bias/.test(key)),
    bytes: ({ source }, key) => recalculated(source, key, () => 0),
  }),
  tensorKind({
    name: "routing-bias-zero",
    ...SMALL,
    about: "the bias that balances experts' load left at zero: routing changes for few tokens (torchtitan#3557)",
    places: (sample) => keysLike(sample, /e_score_correction_bias$|expert_bias$/),
    bytes: ({ source }, key) => recalculated(source, key, () => 0),
  }),
  tensorKind({
    name: "matrix-zero",
    ...SMALL,
    about: "a projection of keys all zero: allclose with a loose tolerance passes it",
    places: (sample) => keysLike(sample, /\.(?:k_proj|down_proj)\.weight$/),
    bytes: ({ source }, key) => recalculated(source, key, () => 0),
  }),
  tensorKind({
    name: "half-the-rows-zero",
    ...SMALL,
    about: "the second half of a matrix's rows zero: one rank's shard was never read",
    places: (sample) => keysLike(sample, /\.(?:up_proj|q_proj|fc1)\.weight$/, ({ shape: [m] }) => m! > 1),
    bytes({ source }, key) {
      const { shape } = source.tensors.get(key)!;
      const half = Math.ceil(shape[0]! / 2) * shape.slice(1).reduce((product, size) => product * size, 1);
      return recalculated(source, key, (x, i) => (i < half ? x : 0));
    },
  }),
];
