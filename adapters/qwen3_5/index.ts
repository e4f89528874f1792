import type { Forward } from "../../numerics/graph.ts";
import { transformersFrequencies } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { defineFamily } from "../../src/family/define.ts";
import { MXFP4_EXPERTS } from "../common/encodable.ts";
import { gatedDeltaArguments } from "../common/gated-delta/megatron-args.ts";
import { known } from "../common/known.ts";
import { prefixed } from "../common/prefixed.ts";
import { qwenVisionInput } from "../common/qwen-vision-config.ts";
import { LANGUAGE_MODEL, megatronRow } from "../trainers/megatron.ts";
import { TORCHTITAN, torchtitanRows } from "../trainers/torchtitan.ts";
import { parseQwen35Config, type Qwen35Config, type Qwen35Family, type Qwen35Vision } from "./config.ts";
import { checkTorchtitan, checkTower, withSeparateImages } from "./graph-limits.ts";
import { hfForward } from "./hf.ts";
import { qwen35Axes, qwen35Rules } from "./mapping.ts";
import { emptyEntries, megatronRules } from "./megatron.ts";
import { nativeDifferences, nativeForward } from "./native.ts";
import { megatronDifferences, megatronForward } from "./native-megatron.ts";

/** When torchtitan first had the family. */
const INTRODUCED = "2026-06-10";
const FLAVOURS = ["gated delta net", "gated attention", "grouped-query", "vision tower", "text alone", "tied", "yarn"];

const row = torchtitanRows<Qwen35Config>({
  rules: qwen35Rules,
  graph(config, spelling) {
    checkTower(config);
    checkTorchtitan(config);
    return withSeparateImages(nativeForward(config, spelling), config, "features");
  },
  differences: nativeDifferences,
});

const megatron = (family: Qwen35Family) =>
  megatronRow<Qwen35Config>({
    rules: megatronRules,
    within: ["", LANGUAGE_MODEL],
    emptyEntries,
    ownArguments: { ...gatedDeltaArguments, modelType: `${family}_text` },
    graph(config) {
      checkTower(config);
      return withSeparateImages(megatronForward(config), config, "positions");
    },
    differences: megatronDifferences,
  });

export const qwen35 = defineFamily({
  ...common("qwen3_5"),
  flavours: ["dense", ...FLAVOURS],
  layouts: [row("torchtitan", { ...TORCHTITAN["2026-05-27"], since: INTRODUCED }), megatron("qwen3_5")],
});

export const qwen35Moe = defineFamily({
  ...common("qwen3_5_moe"),
  flavours: ["moe", "gated shared expert", ...FLAVOURS],
  layouts: [
    row("torchtitan", TORCHTITAN["2026-07-16"]),
    row("torchtitan-2026-05", { ...TORCHTITAN["2026-05-27"], since: INTRODUCED }, "2026-07-16"),
    megatron("qwen3_5_moe"),
  ],
});

/** Those of the delta rule's output and of the tower are usual ones. */
const CENTRED_NORMS = /\b(?:(?:input|post_attention)_layernorm|[qk]_norm|language_model\.norm)\.weight$/;

/** A config that has every kind of key: layers and blocks differ only in their indices and their kind of attention. */
function probesOf(family: Qwen35Family): JsonObject[] {
  const text = { num_hidden_layers: 2, full_attention_interval: 2 };
  return [false, true].flatMap((tie_word_embeddings) => [
    { model_type: family, text_config: text, vision_config: { depth: 1 }, tie_word_embeddings },
    { model_type: `${family}_text`, ...text, tie_word_embeddings },
  ]);
}

function common(family: Qwen35Family) {
  return {
    family,
    modelTypes: [family, `${family}_text`],
    modalities: ["text", "image"],
    known: known("NORM_EPS", "VISION_MERGER_GELU", "YARN_ATTENTION_FACTOR"),
    sources: [
      "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/qwen3_5/state_dict_adapter.py",
      `https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/${family}/modeling_${family}.py`,
      "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/conversion_mapping.py",
      "https://github.com/NVIDIA-NeMo/Megatron-Bridge/blob/067f987df/src/megatron/bridge/models/qwen/qwen35_bridge.py",
      "https://github.com/NVIDIA-NeMo/Megatron-Bridge/blob/067f987df/src/megatron/bridge/models/qwen_vl/qwen35_vl_bridge.py",
    ],
    probes: probesOf(family),
    parse: (json: JsonObject, where: string) => parseQwen35Config(family, json, where),
    facts: ({ vision, tokens, ...config }: Qwen35Config) => ({
      ...config,
      centredNorms: CENTRED_NORMS,
      vision: vision && tokens ? qwenVisionInput(vision, tokens) : undefined,
    }),
    encodable: { mxfp4: MXFP4_EXPERTS },
    axes: qwen35Axes,
    math: mathOf,
    hfConfig: (_: Qwen35Config, json: JsonObject) => json,
    hf: { graph: hfGraph, openedBy: "megatron" },
  };
}

function hfGraph(config: Qwen35Config): Forward {
  checkTower(config);
  return withSeparateImages(hfForward(config), config, "positions");
}

function mathOf(config: Qwen35Config) {
  const { rope, dtype: _, announcesMtp: __, delta, moe, vision, tokens, mropeSection, ...sizes } = config;
  const { invFreq, attentionFactor } = transformersFrequencies(rope);
  return {
    ...sizes,
    ...prefixed("delta", { ...delta }),
    ...(moe === null ? {} : prefixed("moe", { ...moe })),
    // Tokens of text have one position on all axes.
    ...(vision === null ? {} : { mropeSection, ...visionMath(vision) }),
    ...(tokens === null ? {} : prefixed("token", { ...tokens })),
    activation: "silu",
    routerScore: moe === null ? "" : "softmax over all, chosen ones normalised",
    attentionScale: config.headDim ** -0.5,
    deltaScale: delta.keyHeadDim ** -0.5,
    rotatedChannels: rope.dims,
    invFreq: [...invFreq],
    ropeAttentionFactor: attentionFactor,
  };
}

function visionMath(vision: Qwen35Vision) {
  const headDim = vision.dim / vision.nHeads;
  return {
    ...prefixed("vision", { ...vision }),
    visionActivation: "gelu_pytorch_tanh",
    /** LayerNorm's in the HF class, which no config changes. */
    visionNormEps: 1e-6,
    visionAttentionScale: headDim ** -0.5,
    /** Of a row or a column: the channels of a head are rotated by both. */
    visionInvFreq: [
      ...transformersFrequencies({ kind: "default", theta: vision.ropeTheta, dims: Math.floor(headDim / 2) }).invFreq,
    ],
  };
}
