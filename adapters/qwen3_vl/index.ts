import { transformersFrequencies } from "../../numerics/rope.ts";
import type { Adapter, Family, JsonObject, VisionInput } from "../../src/family/adapter.ts";
import { MXFP4_EXPERTS } from "../common/encodable.ts";
import { qwen2VlImageProcessor } from "../common/qwen-image-processor.ts";
import { parseQwen3VlConfig, type Qwen3VlConfig, type Qwen3VlFamily } from "./config.ts";
import { checkTorchtitan, checkTower, withSeparateImages } from "./graph-limits.ts";
import { hfForward } from "./hf.ts";
import { QWEN3_VL_LAYOUTS, QWEN3_VL_MOE_LAYOUTS, qwen3VlAxes, qwen3VlRules } from "./mapping.ts";
import { nativeDifferences, nativeForward } from "./native.ts";

const FLAVOURS = ["vision tower with DeepStack", "tied", "grouped-query", "biased", "yarn"];

export const qwen3Vl: Adapter = {
  ...common("qwen3_vl"),
  flavours: ["dense", ...FLAVOURS],
  layouts: QWEN3_VL_LAYOUTS,
  probes: [{}, { attention_bias: true }].flatMap((text) => probesOf("qwen3_vl", text)),
};

export const qwen3VlMoe: Adapter = {
  ...common("qwen3_vl_moe"),
  flavours: ["moe", "dense layers between", ...FLAVOURS],
  layouts: QWEN3_VL_MOE_LAYOUTS,
  probes: [{}, { attention_bias: true }, { num_hidden_layers: 2, mlp_only_layers: [0] }].flatMap((text) =>
    probesOf("qwen3_vl_moe", text),
  ),
};

/** Every kind of key, once: layers, blocks and mergers differ in their numbers only. */
function probesOf(family: Qwen3VlFamily, text: JsonObject): JsonObject[] {
  const text_config = { num_hidden_layers: 1, ...text };
  const vision_config = { depth: 1, deepstack_visual_indexes: [0] };
  return [false, true].map((tied) => ({ model_type: family, text_config, vision_config, tie_word_embeddings: tied }));
}

function common(family: Qwen3VlFamily) {
  return {
    family,
    modelTypes: [family],
    modalities: ["text", "image", "video"],
    sources: [
      "https://github.com/pytorch/torchtitan/blob/adf340d3f9fa/torchtitan/models/qwen3_vl/state_dict_adapter.py",
      "https://github.com/pytorch/torchtitan/blob/12979c663/torchtitan/models/qwen3_vl/state_dict_adapter.py",
      `https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/${family}/modeling_${family}.py`,
      "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/conversion_mapping.py",
    ],
    graphs: ["native", "hf"] as const,
    open: (json: JsonObject, where: string) => openFamily(family, parseQwen3VlConfig(family, json, where), json),
  };
}

const openFamily = (family: Qwen3VlFamily, config: Qwen3VlConfig, json: JsonObject): Family => ({
  family,
  vocabSize: config.vocabSize,
  maxPositions: config.maxPositions,
  dtype: config.dtype,
  encodable: { mxfp4: MXFP4_EXPERTS },
  axes: () => qwen3VlAxes(config),
  rules: (layout) => qwen3VlRules(config, layout),
  hfConfig: () => json,
  math: () => mathOf(config),
  vision: visionInput(config),
  forward(layout) {
    checkTower(config);
    if (layout !== "hf") checkTorchtitan(config);
    return withSeparateImages(layout === "hf" ? hfForward(config) : nativeForward(config, layout), config, layout);
  },
  knownDifferences: (layout) => (layout === "hf" ? [] : nativeDifferences(config, layout)),
});

const visionInput = ({ vision, tokens }: Qwen3VlConfig): VisionInput => ({
  patchDim: vision.channels * vision.patchFrames * vision.patchSize ** 2,
  mergeSize: vision.mergeSize,
  imageToken: tokens.image,
  around: [tokens.visionStart, tokens.visionEnd],
  reserved: [tokens.image, tokens.video, tokens.visionStart, tokens.visionEnd],
  processor: qwen2VlImageProcessor,
});

function mathOf(config: Qwen3VlConfig) {
  const { rope, dtype: _, moe, vision, tokens, ...sizes } = config;
  const { invFreq, attentionFactor } = transformersFrequencies(rope);
  const visionHeadDim = vision.dim / vision.nHeads;
  return {
    ...sizes,
    ...(moe === null ? {} : prefixed("moe", { ...moe })),
    ...prefixed("vision", { ...vision }),
    ...prefixed("token", { ...tokens }),
    activation: "silu",
    routerScore: moe === null ? "" : "softmax over all, chosen ones normalised",
    attentionScale: config.headDim ** -0.5,
    invFreq: [...invFreq],
    ropeAttentionFactor: attentionFactor,
    visionActivation: "gelu_pytorch_tanh",
    /** LayerNorm's in the HF class, which no config changes. */
    visionNormEps: 1e-6,
    visionAttentionScale: visionHeadDim ** -0.5,
    /** Of a row or a column: the channels of a head are rotated by both. */
    visionInvFreq: [
      ...transformersFrequencies({ kind: "default", theta: vision.ropeTheta, dims: Math.floor(visionHeadDim / 2) })
        .invFreq,
    ],
  };
}

type Comparable = ReturnType<Family["math"]>;

/** `dim` becomes `visionDim`. */
const prefixed = (prefix: string, fields: Comparable): Comparable =>
  Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [`${prefix}${name.charAt(0).toUpperCase()}${name.slice(1)}`, value]),
  );
