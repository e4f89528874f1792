import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseGptOssConfig } from "../../../adapters/gpt_oss/config.ts";
import { gptOss } from "../../../adapters/gpt_oss/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { refusal } from "../refuse.ts";

const parse = (fields: Record<string, unknown> = {}) =>
  parseGptOssConfig({ model_type: "gpt_oss", ...fields }, "config.json");
const math = (fields: Record<string, unknown> = {}) =>
  gptOss.open({ model_type: "gpt_oss", ...fields }, "config.json").math();

test("absent fields take the defaults of GptOssConfig 5.23.0", () => {
  expect(parse({ num_hidden_layers: 3 })).toEqual({
    nLayers: 3,
    vocabSize: 201088,
    dim: 2880,
    nHeads: 64,
    nKvHeads: 8,
    headDim: 64,
    nExperts: 128,
    expertDim: 2880,
    expertsPerToken: 4,
    swigluAlpha: 1.702,
    swigluLimit: 7,
    normEps: 1e-5,
    tied: false,
    rope: {
      kind: "yarn",
      theta: 150000,
      dims: 64,
      factor: 32,
      originalMaxPositions: 4096,
      betaFast: 32,
      betaSlow: 1,
      truncate: false,
    },
    maxPositions: 131072,
    windows: [128, null, 128],
    dtype: null,
  });
  expect(parse().nLayers).toBe(36);
});

test("v4 and v5 spellings mean the same", () => {
  const json = JSON.parse(readFileSync(`${FIXTURES}gpt_oss/bf16/hf/config.json`, "utf8"));
  const { rope_parameters: rope, num_local_experts: experts, dtype, ...rest } = json;
  const { rope_theta: theta, ...scaling } = rope;
  const v4 = { ...rest, num_experts: experts, torch_dtype: dtype, rope_theta: theta, rope_scaling: scaling };
  expect(parse(v4)).toEqual(parse(json));
  expect(parse(json)).toMatchObject({ windows: [37, null, 37], nExperts: 12, rope: { theta: 150000, factor: 8 } });
});

test("a scaling without theta has the class's theta", () => {
  expect(parse({ rope_scaling: { rope_type: "linear", factor: 2 } }).rope).toMatchObject({ theta: 150000, factor: 2 });
});

test.each([
  ["sliding_window", 64],
  ["layer_types", Array.from({ length: 36 }, () => "full_attention")],
  ["swiglu_limit", 5],
  ["swiglu_alpha", 1],
  ["num_experts_per_tok", 2],
  ["rms_norm_eps", 1e-6],
  ["rope_theta", 1e6],
])("%s changes the mathematics", (field, value) => {
  expect(math({ [field]: value })).not.toEqual(math());
});

test.each([
  [{ model_type: "llama" }, '"model_type" is "llama", which is another family'],
  [{ model_type: undefined }, '"model_type" must be "gpt_oss"'],
  [{ attention_bias: false }, '"attention_bias" is false'],
  [{ hidden_act: "gelu" }, '"hidden_act" is "gelu"'],
  [{ layer_types: ["full_attention"] }, '"layer_types" must be a list of 36 layers'],
  [{ num_hidden_layers: 1, layer_types: ["chunked_attention"] }, '"layer_types" must be full_attention or sliding'],
  [{ num_key_value_heads: 7 }, "64 query heads cannot share 7 key/value heads evenly"],
])("%o is refused", (fields, message) => {
  expect(refusal(() => parse(fields))).toContain(message);
});
