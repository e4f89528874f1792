import type { Forward } from "../../numerics/graph.ts";
import { transformersFrequencies } from "../../numerics/rope.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { defineFamily } from "../../src/family/define.ts";
import { MXFP4_EXPERTS } from "../common/encodable.ts";
import { known } from "../common/known.ts";
import { prefixed } from "../common/prefixed.ts";
import { qwenVisionInput } from "../common/qwen-vision-config.ts";
import { LANGUAGE_MODEL, megatronRow } from "../trainers/megatron.ts";
import { fused, TORCHTITAN, torchtitanRows } from "../trainers/torchtitan.ts";
import { parseQwen3VlConfig, type Qwen3VlConfig, type Qwen3VlFamily } from "./config.ts";
import { checkTorchtitan, checkTower, withSeparateImages } from "./graph-limits.ts";
import { hfForward } from "./hf.ts";
import { qwen3VlAxes, qwen3VlRules } from "./mapping.ts";
import { emptyEntries, megatronRules } from "./megatron.ts";
import { nativeDifferences, nativeForward } from "./native.ts";
import { megatronDifferences, megatronForward } from "./native-megatron.ts";

const FLAVOURS = ["vision tower with DeepStack", "tied", "grouped-query", "biased", "yarn"];

const row = torchtitanRows<Qwen3VlConfig>({
  rules: qwen3VlRules,
  graph(config, spelling) {
    checkTower(config);
    checkTorchtitan(config);
    return withSeparateImages(nativeForward(config, spelling), config, "features and positions");
  },
  differences: nativeDifferences,
});
/** When torchtitan removed the family. */
const REMOVED = "2026-06-10";
const megatron = megatronRow<Qwen3VlConfig>({
  rules: megatronRules,
  ownArguments: { isNested: true },
  within: [LANGUAGE_MODEL],
  emptyEntries,
  graph(config) {
    checkTower(config);
    return withSeparateImages(megatronForward(config), config, "positions");
  },
  differences: megatronDifferences,
});
const LAYOUTS = [
  row("torchtitan", TORCHTITAN["2026-05-27"], REMOVED),
  row("torchtitan-fused", fused(TORCHTITAN["2026-05-27"]), REMOVED),
  row("torchtitan-2026-04-16", TORCHTITAN["2026-04-16"], "2026-04-27"),
  row("torchtitan-2026-04-16-fused", fused(TORCHTITAN["2026-04-16"]), "2026-04-27"),
  row("torchtitan-2026-04-11", { ...TORCHTITAN["0.2.0"], since: "2026-04-11" }, "2026-04-16"),
] as const;

export const qwen3Vl = defineFamily({
  ...common("qwen3_vl"),
  flavours: ["dense", ...FLAVOURS],
  layouts: [...LAYOUTS, megatron],
  probes: [{}, { attention_bias: true }].flatMap((text) => probesOf("qwen3_vl", text)),
});

export const qwen3VlMoe = defineFamily({
  ...common("qwen3_vl_moe"),
  flavours: ["moe", "dense layers between", ...FLAVOURS],
  layouts: [
    ...LAYOUTS,
    row("torchtitan-2026-04-27", TORCHTITAN["2026-04-27"], "2026-05-27"),
    row("torchtitan-2026-04-27-fused", fused(TORCHTITAN["2026-04-27"]), "2026-05-27"),
    megatron,
  ],
  probes: [{}, { attention_bias: true }, { num_hidden_layers: 2, mlp_only_layers: [0] }].flatMap((text) =>
    probesOf("qwen3_vl_moe", text),
  ),
});

/** A config that has every kind of key: layers, blocks and mergers differ only in their indices. */
function probesOf(family: Qwen3VlFamily, text: JsonObject): JsonObject[] {
  const text_config = { num_hidden_layers: 1, ...text };
  const vision_config = { depth: 1, deepstack_visual_indexes: [0] };
  return [false, true].map((tied) => ({ model_type: family, text_config, vision_config, tie_word_embeddings: tied }));
}

function common(family: Qwen3VlFamily) {
  return {
    family,
    modelTypes: [family],
    modalities: ["text", "image"],
    known: known("VISION_MERGER_GELU", "YARN_ATTENTION_FACTOR", "YARN_TRUNCATE"),
    sources: [
      "https://github.com/pytorch/torchtitan/blob/adf340d3f9fa/torchtitan/models/qwen3_vl/state_dict_adapter.py",
      "https://github.com/pytorch/torchtitan/blob/12979c663/torchtitan/models/qwen3_vl/state_dict_adapter.py",
      `https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/${family}/modeling_${family}.py`,
      "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/conversion_mapping.py",
    ],
    parse: (json: JsonObject, where: string) => parseQwen3VlConfig(family, json, where),
    facts: (config: Qwen3VlConfig) => ({ ...config, vision: qwenVisionInput(config.vision, config.tokens) }),
    encodable: { mxfp4: MXFP4_EXPERTS },
    axes: qwen3VlAxes,
    math: mathOf,
    hfConfig: (_: Qwen3VlConfig, json: JsonObject) => json,
    hf: { graph: hfGraph },
  };
}

function hfGraph(config: Qwen3VlConfig): Forward {
  checkTower(config);
  return withSeparateImages(hfForward(config), config, "positions");
}

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
