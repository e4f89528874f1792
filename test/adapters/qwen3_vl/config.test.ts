import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseQwen3VlConfig, type Qwen3VlFamily } from "../../../adapters/qwen3_vl/config.ts";
import { qwen3Vl, qwen3VlMoe } from "../../../adapters/qwen3_vl/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { refusal } from "../refuse.ts";

type Fields = Record<string, unknown>;

const parse = (family: Qwen3VlFamily, fields: Fields = {}) =>
  parseQwen3VlConfig(family, { model_type: family, ...fields }, "config.json");
const math = (family: Qwen3VlFamily, fields: Fields = {}) =>
  (family === "qwen3_vl" ? qwen3Vl : qwen3VlMoe).open({ model_type: family, ...fields }, "config.json").math();
const fixtureConfig = (name: string) => JSON.parse(readFileSync(`${FIXTURES}${name}/hf/config.json`, "utf8"));

const vision = {
  nBlocks: 27,
  dim: 1152,
  ffnDim: 4304,
  nHeads: 16,
  channels: 3,
  patchSize: 16,
  patchFrames: 2,
  mergeSize: 2,
  outDim: 3584,
  nPositions: 2304,
  deepstackBlocks: [8, 16, 24],
  ropeTheta: 10000,
};
const shared = {
  vocabSize: 151936,
  headDim: 128,
  normEps: 1e-6,
  tied: false,
  rope: { kind: "default", theta: 500000, dims: 128 },
  mropeSection: [24, 20, 20],
  attentionBias: false,
  maxPositions: 128000,
  vision,
  tokens: { image: 151655, video: 151656, visionStart: 151652, visionEnd: 151653 },
  dtype: null,
};

test("absent fields take the defaults of Qwen3VLConfig and Qwen3VLMoeConfig 5.23.0", () => {
  const dense = { nLayers: 32, dim: 4096, ffnDim: 22016, nHeads: 32, nKvHeads: 32, moe: null };
  expect(parse("qwen3_vl")).toEqual({ ...shared, ...dense });
  const experts = { nExperts: 60, expertDim: 1408, topK: 4, denseLayers: [] };
  const moe = { nLayers: 24, dim: 2048, ffnDim: 5632, nHeads: 16, nKvHeads: 16, moe: experts };
  expect(parse("qwen3_vl_moe")).toEqual({ ...shared, ...moe });
});

test.each([
  ["qwen3_vl", "qwen3_vl/tied"],
  ["qwen3_vl_moe", "qwen3_vl_moe/bf16"],
] as const)("%s: v4 and v5 spellings mean the same", (family, name) => {
  const json = fixtureConfig(name);
  const { rope_parameters: rope, num_local_experts, dtype: _, ...text } = json.text_config;
  const { rope_theta, ...scaling } = rope;
  const { rope_parameters: __, ...tower } = json.vision_config;
  const { dtype, ...top } = json;
  const v4 = {
    ...top,
    torch_dtype: dtype,
    text_config: {
      ...text,
      ...(num_local_experts === undefined ? {} : { num_experts: num_local_experts, norm_topk_prob: true }),
      rope_theta,
      rope_scaling: scaling,
    },
    vision_config: { ...tower, model_type: family },
  };
  expect(parse(family, v4)).toEqual(parse(family, json));
  expect(math(family, v4)).toEqual(math(family, json));
  expect(parse(family, v4).rope).toEqual({ kind: "default", theta: 1e6, dims: 12 });
});

test("what the fixtures say", () => {
  expect(parse("qwen3_vl", fixtureConfig("qwen3_vl/tied"))).toMatchObject({
    tied: true,
    dim: 34,
    mropeSection: [2, 2, 2],
    tokens: { image: 7, video: 8, visionStart: 9, visionEnd: 10 },
    vision: { nBlocks: 3, patchSize: 4, nPositions: 49, outDim: 34, deepstackBlocks: [0, 2] },
    dtype: "float32",
  });
  expect(parse("qwen3_vl_moe", fixtureConfig("qwen3_vl_moe/bf16"))).toMatchObject({
    tied: false,
    mropeSection: [4, 1, 1],
    moe: { nExperts: 12, expertDim: 18, topK: 3, denseLayers: [] },
    dtype: "bfloat16",
  });
});

test("the config's own tie counts, not that of its text", () => {
  expect(parse("qwen3_vl", { text_config: { tie_word_embeddings: true } }).tied).toBe(false);
  expect(parse("qwen3_vl", { text_config: { tie_word_embeddings: false }, tie_word_embeddings: true }).tied).toBe(true);
});

test("which layers have experts", () => {
  const dense = (text: Fields) =>
    parse("qwen3_vl_moe", { text_config: { num_hidden_layers: 5, ...text } }).moe?.denseLayers;
  expect(dense({ mlp_only_layers: [0, 3] })).toEqual([0, 3]);
  expect(dense({ decoder_sparse_step: 2, mlp_only_layers: [1] })).toEqual([0, 1, 2, 4]);
  expect(dense({ mlp_only_layers: null })).toEqual([]);
});

test("a type of weights at either level", () => {
  expect(parse("qwen3_vl", { text_config: { dtype: "bfloat16" } }).dtype).toBe("bfloat16");
  expect(parse("qwen3_vl", { text_config: { dtype: "bfloat16" }, torch_dtype: "float32" }).dtype).toBe("float32");
});

describe.each(["qwen3_vl", "qwen3_vl_moe"] as const)("%s", (family) => {
  test.each<Fields>([
    { text_config: { rms_norm_eps: 1e-5 } },
    { text_config: { head_dim: 32 } },
    { text_config: { rope_theta: 5e6 } },
    { text_config: { rope_parameters: { mrope_section: [8, 28, 28] } } },
    { text_config: { rope_scaling: { rope_type: "yarn", factor: 3, original_max_position_embeddings: 4096 } } },
    { text_config: { attention_bias: true } },
    { vision_config: { deepstack_visual_indexes: [8, 16] } },
    { vision_config: { deepstack_visual_indexes: [8, 16, 23] } },
    { vision_config: { spatial_merge_size: 1 } },
    { vision_config: { num_heads: 8 } },
    { vision_config: { rope_parameters: { rope_type: "axial", rope_theta: 5000 } } },
    { image_token_id: 3 },
    { video_token_id: 3 },
    { tie_word_embeddings: true },
  ])("%o changes what is computed", (fields) => {
    expect(math(family, fields)).not.toEqual(math(family));
  });

  test.each<[Fields, string]>([
    [{ text_config: [] }, "text_config"],
    [{ vision_config: 3 }, "vision_config"],
    [{ text_config: { hidden_act: "gelu" } }, "text_config.hidden_act"],
    [{ text_config: { num_key_value_heads: 5 } }, "heads"],
    [{ text_config: { rope_parameters: { mrope_section: [2, 2] } } }, "mrope_section"],
    [{ text_config: { rope_parameters: { rope_type: "dynamic" } } }, "rope_type"],
    [{ vision_config: { hidden_act: "silu" } }, "vision_config.hidden_act"],
    [{ vision_config: { num_heads: 7 } }, "vision_config.hidden_size"],
    [{ vision_config: { deepstack_visual_indexes: ["8"] } }, "vision_config.deepstack_visual_indexes"],
    [{ vision_config: { patch_size: [16, 16] } }, "vision_config.patch_size"],
    [{ vision_config: { rope_parameters: { rope_type: "default" } } }, "vision_config.rope_parameters.rope_type"],
    [{ image_token_id: -1 }, "image_token_id"],
    [{ tie_word_embeddings: null }, "tie_word_embeddings"],
    [{ model_type: "qwen2_vl" }, "model_type"],
  ])("%o is refused, naming %s", (fields, name) => {
    expect(refusal(() => parse(family, fields))).toContain(name);
  });
});

test.each<Fields>([{ num_experts_per_tok: 2 }, { mlp_only_layers: [1] }, { moe_intermediate_size: 7 }])(
  "%o changes what is computed with experts",
  (text) => {
    expect(math("qwen3_vl_moe", { text_config: text })).not.toEqual(math("qwen3_vl_moe"));
  },
);
