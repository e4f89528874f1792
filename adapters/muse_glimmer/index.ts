import { transformersFrequencies } from "../../numerics/rope.ts";
import { InputError } from "../../src/base/errors.ts";
import { defineFamily } from "../../src/family/define.ts";
import type { VisionInput } from "../../src/family/family.ts";
import { known } from "../common/known.ts";
import { prefixed } from "../common/prefixed.ts";
import { TORCHTITAN, torchtitanRows } from "../trainers/torchtitan.ts";
import { type MuseGlimmerConfig, type MuseGlimmerVision, parseMuseGlimmerConfig } from "./config.ts";
import { hfForward } from "./hf.ts";
import { COLOURS, museGlimmerAxes, museGlimmerRules } from "./mapping.ts";
import { nativeDifferences, nativeForward } from "./native.ts";
import { museImageProcessor } from "./processor.ts";
import { TABLE_IN_TORCHTITAN, TABLE_IN_TRANSFORMERS, tableIn } from "./upstream.ts";

/** A config that has every kind of key: layers and blocks differ only in their indices. */
const ONE_OF_EACH = {
  model_type: "muse_glimmer",
  text_config: { num_hidden_layers: 1 },
  vision_config: { num_hidden_layers: 1 },
};

const row = torchtitanRows<MuseGlimmerConfig>({
  rules: museGlimmerRules,
  graph: (config, _, upstream) => nativeForward(config, tableIn(upstream).torchtitan.reads),
  differences: (config, _, upstream) => nativeDifferences(config, tableIn(upstream)),
});

export const museGlimmer = defineFamily({
  family: "muse_glimmer",
  modelTypes: ["muse_glimmer"],
  flavours: ["dense", "gated attention", "grouped-query", "sliding-window", "vision tower", "text alone", "tied"],
  modalities: ["text", "image"],
  known: known("OBLONG_POSITION_TABLE"),
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/muse_glimmer/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/muse_glimmer/modeling_muse_glimmer.py",
  ],
  probes: [{}, { tie_word_embeddings: true }, { vision_config: null }].map((fields) => ({ ...ONE_OF_EACH, ...fields })),
  parse: (json, where) => parseMuseGlimmerConfig(json, where),
  facts: ({ vision, tokens, ...config }) => ({
    centredNorms: /layers\.\d+\.(?:input|(?:pre|post)_feedforward|post_attention)_layernorm\.weight$/,
    ...config,
    vision: vision === null ? undefined : visionInput(vision, tokens),
  }),
  axes: museGlimmerAxes,
  math: mathOf,
  hfConfig: (_, json) => json,
  changes: [TABLE_IN_TRANSFORMERS, TABLE_IN_TORCHTITAN].map((change) => ({
    ...change,
    concerns: ({ vision }: MuseGlimmerConfig) => vision !== null,
  })),
  hf: { graph: (config, upstream) => hfForward(squareTable(config), tableIn(upstream).transformers.reads) },
  layouts: [row("torchtitan", TORCHTITAN["2026-07-16"])],
});

/** transformers assumes a square position table, with as many columns as rows. */
function squareTable(config: MuseGlimmerConfig): MuseGlimmerConfig {
  const { positionRows, positionColumns } = config.vision ?? { positionRows: 0, positionColumns: 0 };
  if (positionRows === positionColumns) return config;
  throw new InputError("NO_GRAPH", "muse_glimmer: transformers has square tables of positions only", {
    expected: `pos_emb_width ${positionRows}, as pos_emb_height`,
    found: `${positionColumns}`,
    help: "use `roundtrip`, `diff` and `validate`, which need no graph",
  });
}

const visionInput = (vision: MuseGlimmerVision, tokens: MuseGlimmerConfig["tokens"]): VisionInput => ({
  patchDim: vision.patchFrames * COLOURS * vision.patchSize ** 2,
  mergeSize: vision.mergeSize,
  imageToken: tokens.image,
  videoToken: tokens.video,
  around: null,
  reserved: [tokens.image, tokens.video],
  processor: museImageProcessor,
});

function mathOf(config: MuseGlimmerConfig) {
  const { rope, dtype: _, vision, tokens, ...sizes } = config;
  const { invFreq, attentionFactor } = transformersFrequencies(rope);
  return {
    ...sizes,
    ...(vision === null ? {} : visionMath(vision)),
    ...prefixed("token", { ...tokens }),
    activation: "silu",
    attentionScale: config.headDim ** -0.5,
    invFreq: [...invFreq],
    ropeAttentionFactor: attentionFactor,
  };
}

function visionMath(vision: MuseGlimmerVision) {
  const headDim = vision.dim / vision.nHeads;
  return {
    ...prefixed("vision", { ...vision }),
    visionActivation: "gelu",
    adapterActivation: "gelu",
    /** Epsilon of the blocks' LayerNorms; no config changes it. */
    visionBlockNormEps: 1e-5,
    visionAttentionScale: headDim ** -0.5,
    /** Inverse frequencies of rows and columns, which are counted from 1. */
    visionInvFreq: [
      ...transformersFrequencies({ kind: "default", theta: vision.ropeTheta, dims: headDim / 2 }).invFreq,
    ],
  };
}
