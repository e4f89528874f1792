import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseQwen3MoeConfig } from "../../../adapters/qwen3_moe/config.ts";
import { qwen3Moe } from "../../../adapters/qwen3_moe/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { refusal } from "../refuse.ts";

const parse = (fields: Record<string, unknown> = {}) =>
  parseQwen3MoeConfig({ model_type: "qwen3_moe", ...fields }, "config.json");
const math = (fields: Record<string, unknown> = {}) =>
  qwen3Moe.open({ model_type: "qwen3_moe", ...fields }, "config.json").math();

test("absent fields take the defaults of Qwen3MoeConfig 5.23.0", () => {
  expect(parse()).toEqual({
    nLayers: 24,
    denseLayers: [],
    vocabSize: 151936,
    dim: 2048,
    ffnDim: 6144,
    expertDim: 768,
    nExperts: 128,
    topK: 8,
    normTopK: false,
    nHeads: 32,
    nKvHeads: 4,
    headDim: 64,
    normEps: 1e-6,
    tied: false,
    rope: { kind: "default", theta: 10000, dims: 64 },
    attentionBias: false,
    maxPositions: 32768,
    window: null,
    dtype: null,
  });
});

test("v4 and v5 spellings mean the same", () => {
  const json = JSON.parse(readFileSync(`${FIXTURES}qwen3_moe/untied/hf/config.json`, "utf8"));
  const { rope_parameters: rope, num_local_experts: experts, dtype, ...rest } = json;
  const v4 = { ...rest, num_experts: experts, torch_dtype: dtype, rope_theta: rope.rope_theta, rope_scaling: null };
  expect(parse(v4)).toEqual(parse(json));
  expect(parse(json)).toMatchObject({ nExperts: 12, expertDim: 20, headDim: 10, rope: { theta: 1e6 } });
});

test("which layers have experts", () => {
  const dense = (fields: Record<string, unknown>) => parse({ num_hidden_layers: 5, ...fields }).denseLayers;
  expect(dense({ mlp_only_layers: [0, 3] })).toEqual([0, 3]);
  expect(dense({ decoder_sparse_step: 2 })).toEqual([0, 2, 4]);
  expect(dense({ decoder_sparse_step: 2, mlp_only_layers: [1] })).toEqual([0, 1, 2, 4]);
  expect(dense({ mlp_only_layers: null })).toEqual([]);
});

test.each([
  ["norm_topk_prob", true],
  ["num_experts_per_tok", 2],
  ["rms_norm_eps", 1e-5],
  ["rope_theta", 5e5],
  ["head_dim", 32],
  ["mlp_only_layers", [1]],
  ["use_sliding_window", true],
  ["tie_word_embeddings", true],
])("%s changes what is computed", (field, value) => {
  expect(math({ [field]: value })).not.toEqual(math());
});

test.each([
  [{ mlp_only_layers: ["1"] }, "mlp_only_layers"],
  [{ hidden_act: "gelu" }, "hidden_act"],
  [{ hidden_size: 100 }, "hidden_size"],
  [{ num_key_value_heads: 5 }, "heads"],
  [{ model_type: "qwen3" }, "model_type"],
])("%o is refused, naming %s", (fields, name) => {
  expect(refusal(() => parse(fields))).toContain(name);
});
