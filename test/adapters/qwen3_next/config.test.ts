import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseQwen3NextConfig } from "../../../adapters/qwen3_next/config.ts";
import { qwen3Next } from "../../../adapters/qwen3_next/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { refusal } from "../refuse.ts";

const parse = (fields: Record<string, unknown> = {}) =>
  parseQwen3NextConfig({ model_type: "qwen3_next", ...fields }, "config.json");
const math = (fields: Record<string, unknown> = {}) =>
  qwen3Next.open({ model_type: "qwen3_next", ...fields }, "config.json").math();

test("absent fields take the defaults of Qwen3NextConfig 5.23.0", () => {
  expect(parse()).toEqual({
    nLayers: 48,
    vocabSize: 151936,
    dim: 2048,
    nHeads: 16,
    nKvHeads: 2,
    headDim: 256,
    normEps: 1e-6,
    tied: false,
    rope: { kind: "default", theta: 10000, dims: 64 },
    maxPositions: 32768,
    fullLayers: Array.from({ length: 12 }, (_, i) => 4 * i + 3),
    delta: { nKeyHeads: 16, nValueHeads: 32, keyHeadDim: 128, valueHeadDim: 128, kernel: 4 },
    denseLayers: [],
    ffnDim: 5632,
    nExperts: 512,
    expertDim: 512,
    sharedDim: 512,
    topK: 10,
    normTopK: true,
    dtype: null,
  });
});

// https://huggingface.co/Qwen/Qwen3-Next-80B-A3B-Instruct/blob/main/config.json
test("Qwen3-Next 80B's own config is read as transformers 4 spelled it", () => {
  const json = {
    attention_bias: false,
    decoder_sparse_step: 1,
    full_attention_interval: 4,
    head_dim: 256,
    hidden_act: "silu",
    intermediate_size: 5120,
    max_position_embeddings: 262144,
    mlp_only_layers: [],
    norm_topk_prob: true,
    partial_rotary_factor: 0.25,
    rope_scaling: null,
    rope_theta: 10000000,
    torch_dtype: "bfloat16",
    use_sliding_window: false,
  };
  const rope = { kind: "default", theta: 1e7, dims: 64 };
  expect(parse(json)).toEqual({ ...parse(), ffnDim: 5120, maxPositions: 262144, rope, dtype: "bfloat16" });
});

test("what files say of layers, heads and experts is read", () => {
  const json = JSON.parse(readFileSync(`${FIXTURES}qwen3_next/megatron-mtp-bf16/hf/config.json`, "utf8"));
  const delta = { nKeyHeads: 2, nValueHeads: 4, keyHeadDim: 6, valueHeadDim: 8, kernel: 3 };
  expect(parse(json)).toMatchObject({ fullLayers: [1], denseLayers: [0], headDim: 10, nExperts: 4, delta });
  expect(parse({ num_hidden_layers: 4, decoder_sparse_step: 2, mlp_only_layers: [3] }).denseLayers).toEqual([0, 2, 3]);
  expect(parse({ num_local_experts: 16 }).nExperts).toBe(16);
});

test.each([
  ["num_experts_per_tok", 3],
  ["norm_topk_prob", false],
  ["rope_theta", 1e6],
  ["partial_rotary_factor", 0.5],
  ["rms_norm_eps", 1e-5],
  ["full_attention_interval", 3],
  ["linear_key_head_dim", 64],
  ["mlp_only_layers", [7]],
  ["tie_word_embeddings", true],
])("the mathematics uses %s", (field, value) => {
  expect(math({ [field]: value })).not.toEqual(math());
});

test.each([
  [{ model_type: "qwen3_moe" }, '"model_type"'],
  [{ hidden_act: "gelu" }, '"hidden_act"'],
  [{ attention_bias: true }, '"attention_bias"'],
  [{ output_gate_type: "sigmoid" }, '"output_gate_type" is "sigmoid"'],
  [{ linear_num_value_heads: 24 }, '"linear_num_value_heads" must be a multiple of linear_num_key_heads (16)'],
  [{ num_experts_per_tok: 600 }, "at most the number of experts (512)"],
  [{ layer_types: ["full_attention"] }, "for each of 48 layers"],
  [{ partial_rotary_factor: 0.001 }, '"partial_rotary_factor"'],
])("%o is refused by the name of its field", (fields, message) => {
  expect(refusal(() => parse(fields))).toContain(message);
});

test("a config without model_type asks for HF's", () => {
  expect(refusal(() => parseQwen3NextConfig({}, "config.json"))).toContain("give the model's HF config");
});
