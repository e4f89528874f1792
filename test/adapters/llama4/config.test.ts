import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseLlama4Config } from "../../../adapters/llama4/config.ts";
import { llama4 } from "../../../adapters/llama4/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { refusal } from "../refuse.ts";

type Fields = Record<string, unknown>;

const parse = (fields: Fields = {}) => parseLlama4Config({ model_type: "llama4_text", ...fields }, "config.json");
const math = (fields: Fields = {}) => llama4.open({ model_type: "llama4_text", ...fields }, "config.json").math();
const fixtureConfig = (name: string) => JSON.parse(readFileSync(`${FIXTURES}llama4/${name}/hf/config.json`, "utf8"));

/** Layers of the default model, without those for which `(i + 1) % 4` is 0. */
const ROTATED = Array.from({ length: 48 }, (_, i) => i).filter((i) => i % 4 !== 3);

test("absent fields take the defaults of Llama4TextConfig 5.23.0", () => {
  expect(parse()).toEqual({
    sees: false,
    nLayers: 48,
    moeLayers: Array.from({ length: 48 }, (_, i) => i),
    vocabSize: 202048,
    dim: 5120,
    ffnDim: 16384,
    expertDim: 8192,
    nExperts: 16,
    topK: 1,
    nHeads: 40,
    nKvHeads: 8,
    headDim: 128,
    normEps: 1e-5,
    tied: false,
    rope: { kind: "default", theta: 500000, dims: 128 },
    ropeLayers: ROTATED,
    chunkedLayers: ROTATED,
    chunkSize: 8192,
    qkNorm: true,
    temperature: { floor: 8192, scale: 0.1 },
    attentionBias: false,
    maxPositions: 131072,
    dtype: null,
  });
  const whole = parseLlama4Config({ model_type: "llama4" }, "config.json");
  expect(whole).toEqual({ ...parse(), sees: true });
});

test("what a fixture says", () => {
  expect(parseLlama4Config(fixtureConfig("split"), "config.json")).toMatchObject({
    sees: true,
    moeLayers: [1, 3],
    ffnDim: 46,
    expertDim: 18,
    nExperts: 12,
    ropeLayers: [1, 2],
    chunkedLayers: [1, 2],
    chunkSize: 96,
    qkNorm: false,
    temperature: null,
    rope: { kind: "llama3", theta: 5e5, factor: 16, originalMaxPositions: 128, dims: 14 },
    dtype: "float32",
  });
});

test("v4 and v5 spellings mean the same, nested and alone", () => {
  const json = fixtureConfig("split");
  const { rope_parameters, moe_layers: _, layer_types: __, dtype, ...text } = json.text_config;
  const { rope_theta, ...rope_scaling } = rope_parameters;
  const v4 = { ...json, dtype: undefined, text_config: { ...text, torch_dtype: dtype, rope_theta, rope_scaling } };
  const open = (config: Fields) => llama4.open(config, "config.json");
  expect(parseLlama4Config(v4, "config.json")).toEqual(parseLlama4Config(json, "config.json"));
  expect(open(v4).math()).toEqual(open(json).math());
  expect(open(json.text_config).math()).toEqual(open(json).math());
});

test("which layers have experts, RoPE and chunks", () => {
  const of = (fields: Fields) => parse({ num_hidden_layers: 6, ...fields });
  expect(of({ interleave_moe_layer_step: 2 }).moeLayers).toEqual([1, 3, 5]);
  expect(of({ interleave_moe_layer_step: 2, moe_layers: [0, 9] }).moeLayers).toEqual([0]);
  expect(of({ moe_layers: [] }).moeLayers).toEqual([]);
  expect(of({ no_rope_layer_interval: 3 }).ropeLayers).toEqual([0, 1, 3, 4]);
  expect(of({ no_rope_layers: [] }).ropeLayers).toEqual([0, 1, 2, 4, 5]);
  expect(of({ no_rope_layers: [0, 1, 1, 0, 1, 1, 1] }).ropeLayers).toEqual([1, 2, 4, 5]);
  const types = ["full_attention", ...Array(5).fill("chunked_attention")];
  expect(of({ layer_types: types })).toMatchObject({ ropeLayers: [0, 1, 2, 4, 5], chunkedLayers: [1, 2, 3, 4, 5] });
});

test("the text's own tie counts, as in transformers, which ties the head inside the text model", () => {
  const tied = (top: boolean, text: boolean) =>
    parseLlama4Config(
      { model_type: "llama4", tie_word_embeddings: top, text_config: { tie_word_embeddings: text } },
      "config.json",
    ).tied;
  expect([tied(true, false), tied(false, true)]).toEqual([false, true]);
});

test.each<Fields>([
  { rms_norm_eps: 1e-6 },
  { head_dim: 64 },
  { rope_theta: 1e4 },
  { rope_scaling: { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4 } },
  { num_experts_per_tok: 2 },
  { num_local_experts: 128 },
  { intermediate_size: 16384 },
  { intermediate_size_mlp: 8192 },
  { interleave_moe_layer_step: 2 },
  { moe_layers: [0] },
  { no_rope_layers: Array(48).fill(1) },
  { layer_types: Array(48).fill("full_attention") },
  { attention_chunk_size: 4096 },
  { attn_temperature_tuning: false },
  { floor_scale: 4096 },
  { attn_scale: 0.2 },
  { use_qk_norm: false },
  { attention_bias: true },
  { tie_word_embeddings: true },
])("%o changes what is computed", (fields) => {
  expect(math(fields)).not.toEqual(math());
});

test("what no layer uses changes nothing", () => {
  const rotated = { num_hidden_layers: 2, no_rope_layers: [1, 1], layer_types: Array(2).fill("full_attention") };
  expect(math({ ...rotated, attn_temperature_tuning: false, attention_chunk_size: 7 })).toEqual(math(rotated));
  const still = { num_hidden_layers: 2, no_rope_layers: [0, 0] };
  expect(math({ ...still, use_qk_norm: false })).toEqual(math(still));
});

describe("refused by the name of its field", () => {
  test.each<[Fields, string]>([
    [{ hidden_act: "gelu" }, "hidden_act"],
    [{ num_key_value_heads: 7 }, "heads"],
    [{ attention_chunk_size: null }, "attention_chunk_size"],
    [{ moe_layers: ["1"] }, "moe_layers"],
    [{ no_rope_layers: [1, 0] }, "no_rope_layers"],
    [{ no_rope_layers: Array(48).fill(2) }, "no_rope_layers"],
    [{ layer_types: ["full_attention"] }, "layer_types"],
    [{ layer_types: Array(48).fill("sliding_attention") }, "layer_types"],
    [{ interleave_moe_layer_step: 0 }, "interleave_moe_layer_step"],
    [{ rope_scaling: { rope_type: "dynamic", factor: 2 } }, "rope_type"],
    [{ model_type: "llama" }, "model_type"],
    [{ model_type: "llama4", text_config: { hidden_size: "5120" } }, "text_config.hidden_size"],
    [{ model_type: "llama4", text_config: [] }, "text_config"],
  ])("%o", (fields, name) => {
    expect(refusal(() => parse(fields))).toContain(name);
  });
});
