import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseMixtralConfig } from "../../../adapters/mixtral/config.ts";
import { mixtral } from "../../../adapters/mixtral/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { refusal } from "../refuse.ts";

const parse = (fields: Record<string, unknown> = {}) =>
  parseMixtralConfig({ model_type: "mixtral", ...fields }, "config.json");
const math = (fields: Record<string, unknown> = {}) =>
  mixtral.open({ model_type: "mixtral", ...fields }, "config.json").math();

test("absent fields take the defaults of MixtralConfig 5.23.0", () => {
  expect(parse()).toEqual({
    nLayers: 32,
    vocabSize: 32000,
    dim: 4096,
    expertDim: 14336,
    nExperts: 8,
    topK: 2,
    nHeads: 32,
    nKvHeads: 8,
    headDim: 128,
    normEps: 1e-5,
    tied: false,
    rope: { kind: "default", theta: 1e6, dims: 128 },
    maxPositions: 131072,
    window: null,
    dtype: null,
  });
});

// https://huggingface.co/mistralai/Mixtral-8x7B-v0.1/blob/main/config.json
test("Mixtral 8x7B's own config, and its v5 spelling, mean the defaults", () => {
  const json = {
    hidden_act: "silu",
    hidden_size: 4096,
    intermediate_size: 14336,
    max_position_embeddings: 32768,
    num_attention_heads: 32,
    num_experts_per_tok: 2,
    num_hidden_layers: 32,
    num_key_value_heads: 8,
    num_local_experts: 8,
    rms_norm_eps: 1e-5,
    sliding_window: null,
    tie_word_embeddings: false,
    torch_dtype: "bfloat16",
    vocab_size: 32000,
  };
  const v4 = parse({ ...json, rope_theta: 1e6 });
  expect(v4).toEqual({ ...parse(), maxPositions: 32768, dtype: "bfloat16" });
  expect(parse({ ...json, rope_parameters: { rope_type: "default", rope_theta: 1e6 } })).toEqual(v4);
});

test("what files say of heads, experts and the window is read", () => {
  const json = JSON.parse(readFileSync(`${FIXTURES}mixtral/tied-window-bf16/hf/config.json`, "utf8"));
  expect(parse(json)).toMatchObject({ headDim: 8, nHeads: 6, nExperts: 5, expertDim: 18, window: 61, tied: true });
  expect(parse({ num_experts: 4 }).nExperts).toBe(4);
  expect(parse({ num_key_value_heads: null }).nKvHeads).toBe(32);
  expect(parse({ head_dim: null, hidden_size: 64, num_attention_heads: 4, num_key_value_heads: 2 }).headDim).toBe(16);
});

test.each([
  ["num_experts_per_tok", 3],
  ["num_local_experts", 16],
  ["rms_norm_eps", 1e-6],
  ["rope_theta", 1e4],
  ["head_dim", 64],
  ["sliding_window", 4096],
  ["tie_word_embeddings", true],
])("the mathematics uses %s", (field, value) => {
  expect(math({ [field]: value })).not.toEqual(math());
});

test.each([
  [{ model_type: "mistral" }, '"model_type"'],
  [{ hidden_act: "relu" }, '"hidden_act"'],
  [{ num_local_experts: 0 }, '"num_local_experts" must be a positive integer'],
  [{ hidden_size: 100 }, '"hidden_size"'],
  [{ num_key_value_heads: 5 }, "32 query heads cannot share 5 key/value heads evenly"],
  [{ sliding_window: -1 }, '"sliding_window"'],
  [{ partial_rotary_factor: 0.5 }, '"partial_rotary_factor"'],
])("%o is refused by the name of its field", (fields, message) => {
  expect(refusal(() => parse(fields))).toContain(message);
});
