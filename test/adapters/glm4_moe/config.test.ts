import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseGlm4MoeConfig } from "../../../adapters/glm4_moe/config.ts";
import { glm4Moe } from "../../../adapters/glm4_moe/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { refusal } from "../refuse.ts";

const parse = (fields: Record<string, unknown> = {}) =>
  parseGlm4MoeConfig({ model_type: "glm4_moe", head_dim: 128, ...fields }, "config.json");
const math = (fields: Record<string, unknown> = {}) =>
  glm4Moe.open({ model_type: "glm4_moe", head_dim: 128, ...fields }, "config.json").math();

// The class's own 4096 / 96 = 42 channels of a head cannot be rotated by half: every file names head_dim.
test("absent fields take the defaults of Glm4MoeConfig 5.23.0", () => {
  expect(parse()).toEqual({
    nLayers: 46,
    nDenseLayers: 1,
    nMtpLayers: 1,
    announcesMtp: false,
    vocabSize: 151552,
    dim: 4096,
    ffnDim: 10944,
    nHeads: 96,
    nKvHeads: 8,
    headDim: 128,
    attentionBias: false,
    qkNorm: false,
    nExperts: 128,
    expertDim: 1408,
    nSharedExperts: 1,
    expertsPerToken: 8,
    nGroups: 1,
    groupsPerToken: 1,
    normaliseWeights: true,
    routeScale: 1,
    normEps: 1e-5,
    tied: false,
    rope: { kind: "default", theta: 10000, dims: 64 },
    maxPositions: 131072,
    dtype: null,
  });
});

// https://huggingface.co/zai-org/GLM-4.5/blob/main/config.json
const GLM45 = {
  architectures: ["Glm4MoeForCausalLM"],
  attention_bias: true,
  first_k_dense_replace: 3,
  head_dim: 128,
  hidden_act: "silu",
  hidden_size: 5120,
  intermediate_size: 12288,
  max_position_embeddings: 131072,
  moe_intermediate_size: 1536,
  n_group: 1,
  n_routed_experts: 160,
  n_shared_experts: 1,
  norm_topk_prob: true,
  num_attention_heads: 96,
  num_experts_per_tok: 8,
  num_hidden_layers: 92,
  num_key_value_heads: 8,
  num_nextn_predict_layers: 1,
  partial_rotary_factor: 0.5,
  rms_norm_eps: 1e-5,
  rope_scaling: null,
  rope_theta: 1000000,
  routed_scaling_factor: 2.5,
  tie_word_embeddings: false,
  topk_group: 1,
  torch_dtype: "bfloat16",
  use_qk_norm: true,
  vocab_size: 151552,
};

test("GLM-4.5's own config, in v4's spelling and in v5's", () => {
  const v4 = parse(GLM45);
  expect(v4).toMatchObject({
    nLayers: 92,
    nDenseLayers: 3,
    nMtpLayers: 1,
    announcesMtp: true,
    headDim: 128,
    attentionBias: true,
    qkNorm: true,
    nExperts: 160,
    routeScale: 2.5,
    rope: { kind: "default", theta: 1e6, dims: 64 },
    dtype: "bfloat16",
  });
  const { partial_rotary_factor, rope_theta, rope_scaling: _, torch_dtype: dtype, ...rest } = GLM45;
  const rope_parameters = { rope_type: "default", rope_theta, partial_rotary_factor };
  expect(parse({ ...rest, dtype, rope_parameters, num_nextn_predict_layers: undefined, num_mtp_layers: 1 })).toEqual(
    v4,
  );
});

test("what transformers 5 writes is read", () => {
  const json = JSON.parse(readFileSync(`${FIXTURES}glm4_moe/groups/hf/config.json`, "utf8"));
  expect(parse(json)).toMatchObject({ headDim: 12, rope: { theta: 1e6, dims: 6 }, nGroups: 3, groupsPerToken: 2 });
  expect(parse(json)).toMatchObject({ nExperts: 12, nSharedExperts: 2, nMtpLayers: 0, qkNorm: true });
});

test.each([
  ["num_experts_per_tok", 3],
  ["norm_topk_prob", false],
  ["routed_scaling_factor", 2.5],
  ["rms_norm_eps", 1e-6],
  ["rope_theta", 1e6],
  ["partial_rotary_factor", 1],
  ["use_qk_norm", true],
  ["attention_bias", true],
  ["first_k_dense_replace", 0],
  ["n_group", 2],
  ["num_nextn_predict_layers", 0],
])("the mathematics uses %s", (field, value) => {
  expect(math({ [field]: value })).not.toEqual(math());
});

test.each([
  [{ model_type: "glm4" }, '"model_type"'],
  [{ model_type: "glm4_moe_lite" }, '"model_type"'],
  [{ hidden_act: "relu" }, '"hidden_act"'],
  [{ n_group: 3 }, '"n_group"'],
  [{ n_routed_experts: 4, n_group: 4 }, '"n_group"'],
  [{ num_key_value_heads: 7 }, "96 query heads cannot share 7 key/value heads evenly"],
  [{ head_dim: null }, '"partial_rotary_factor" must be a part of a head of 42 channels that makes pairs'],
  [{ head_dim: 10, partial_rotary_factor: 0.5 }, '"partial_rotary_factor"'],
])("%o is refused by the name of its field", (fields, message) => {
  expect(refusal(() => parse(fields))).toContain(message);
});
