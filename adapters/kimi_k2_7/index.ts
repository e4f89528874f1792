import { transformersFrequencies } from "../../numerics/rope.ts";
import { InputError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { defineFamily } from "../../src/family/define.ts";
import type { VisionInput } from "../../src/family/family.ts";
import { deepseekV3Math } from "../common/deepseek-decoder.ts";
import { LATENT_FP8 } from "../common/encodable.ts";
import { known } from "../common/known.ts";
import { prefixed } from "../common/prefixed.ts";
import { TORCHTITAN, torchtitanRows } from "../trainers/torchtitan.ts";
import { KIMI_MODEL_TYPES, type KimiConfig, parseKimiConfig } from "./config.ts";
import { hfForward } from "./hf.ts";
import { COLOURS, kimiAxes, kimiRules } from "./mapping.ts";
import { nativeDifferences, nativeForward } from "./native.ts";
import { kimiImageProcessor } from "./processor.ts";

const row = torchtitanRows({
  rules: kimiRules,
  graph: (config: KimiConfig) => nativeForward(squarePatches(config)),
  differences: nativeDifferences,
});

export const kimiK27 = defineFamily({
  family: "kimi_k2_7",
  modelTypes: KIMI_MODEL_TYPES,
  flavours: ["moe", "query-latent", "direct-query", "vision tower", "yarn", "tied"],
  modalities: ["text", "image"],
  known: known("MLA_NORM_EPS", "YARN_MSCALE"),
  sources: [
    "https://github.com/pytorch/torchtitan/blob/v0.3.0/torchtitan/models/kimi_k2_7/state_dict_adapter.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/kimi_k25/modeling_kimi_k25.py",
    "https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/conversion_mapping.py",
  ],
  probes: [{ q_lora_rank: 2 }, { q_lora_rank: null }].flatMap(probesOf),
  parse: (json, where) => parseKimiConfig(json, where),
  encodable: { fp8: LATENT_FP8 },
  facts: (config) => ({ ...config.text, dtype: config.dtype, vision: visionInput(config) }),
  axes: kimiAxes,
  math: mathOf,
  hfConfig: (_, json) => json,
  hf: { graph: (config) => hfForward(squareTable(squarePatches(config))) },
  layouts: [row("torchtitan", TORCHTITAN["2026-07-16"])],
});

/** A config that has every kind of key: layers, blocks and experts differ only in their indices. */
function probesOf(text: JsonObject): JsonObject[] {
  const text_config = {
    num_hidden_layers: 2,
    first_k_dense_replace: 1,
    n_routed_experts: 2,
    n_group: 1,
    topk_group: 1,
    ...text,
  };
  const vision_config = { num_hidden_layers: 1 };
  return [false, true].map((tied) => ({
    model_type: "kimi_k25",
    text_config,
    vision_config,
    tie_word_embeddings: tied,
  }));
}

function squarePatches(config: KimiConfig): KimiConfig {
  const { mergeRows, mergeColumns } = config.vision;
  if (mergeRows !== mergeColumns) throw noSuchTower("merge_kernel_size", mergeRows, mergeColumns);
  return config;
}

/** transformers assumes that the position table is square. */
function squareTable(config: KimiConfig): KimiConfig {
  const { positionRows, positionColumns } = config.vision;
  if (positionRows !== positionColumns) throw noSuchTower("pos_emb_width", positionRows, positionColumns);
  return config;
}

function visionInput({ vision, tokens, text }: KimiConfig): VisionInput {
  const { image, video, visionStart, visionEnd } = tokens;
  return {
    patchDim: COLOURS * vision.patchSize ** 2,
    mergeSize: vision.mergeRows,
    imageToken: image,
    videoToken: video,
    around: Math.max(visionStart, visionEnd) < text.vocabSize ? [visionStart, visionEnd] : null,
    reserved: [image, video, visionStart, visionEnd],
    processor: kimiImageProcessor,
  };
}

const noSuchTower = (field: string, rows: number, columns: number): InputError =>
  new InputError("NO_GRAPH", `kimi_k2_7: there is no forward graph for a "${field}" that is not square`, {
    expected: `${rows} rows and columns`,
    found: `${rows} rows, ${columns} columns`,
    help: "use `roundtrip`, `diff` and `validate`, which need no graph",
  });

function mathOf({ text, vision, tokens }: KimiConfig) {
  const headDim = vision.dim / vision.nHeads;
  return {
    ...deepseekV3Math(text),
    ...prefixed("vision", { ...vision }),
    ...prefixed("token", { ...tokens }),
    visionActivation: "gelu_pytorch_tanh",
    projectorActivation: "gelu",
    /** Epsilon of the tower's LayerNorms; no config changes it. */
    visionNormEps: 1e-5,
    visionAttentionScale: headDim ** -0.5,
    /** Inverse frequencies; pairs alternate between column and row. */
    visionInvFreq: [
      ...transformersFrequencies({ kind: "default", theta: vision.ropeTheta, dims: headDim / 2 }).invFreq,
    ],
  };
}
