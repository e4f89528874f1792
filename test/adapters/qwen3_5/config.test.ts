import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseQwen35Config, type Qwen35Family } from "../../../adapters/qwen3_5/config.ts";
import { qwen35, qwen35Moe } from "../../../adapters/qwen3_5/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { refusal } from "../refuse.ts";

type Fields = Record<string, unknown>;

const parse = (family: Qwen35Family, fields: Fields = {}) =>
  parseQwen35Config(family, { model_type: family, ...fields }, "config.json");
const math = (family: Qwen35Family, fields: Fields = {}) =>
  (family === "qwen3_5" ? qwen35 : qwen35Moe).open({ model_type: family, ...fields }, "config.json").math();
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
  ropeTheta: 10000,
};
const shared = {
  announcesMtp: false,
  vocabSize: 248320,
  nHeads: 16,
  headDim: 256,
  normEps: 1e-6,
  tied: false,
  rope: { kind: "default", theta: 10000, dims: 64 },
  mropeSection: [11, 11, 10],
  maxPositions: 32768,
  delta: { nKeyHeads: 16, nValueHeads: 32, keyHeadDim: 128, valueHeadDim: 128, kernel: 4 },
  vision,
  tokens: { image: 248056, video: 248057, visionStart: 248053, visionEnd: 248054 },
  dtype: null,
};
const everyFourth = (count: number) => Array.from({ length: count / 4 }, (_, i) => 4 * i + 3);

test("absent fields take the defaults of Qwen3_5Config and Qwen3_5MoeConfig 5.23.0", () => {
  const dense = { nLayers: 32, dim: 4096, nKvHeads: 4, ffnDim: 12288, moe: null, fullLayers: everyFourth(32) };
  expect(parse("qwen3_5")).toEqual({ ...shared, ...dense });
  const experts = { nExperts: 256, expertDim: 512, sharedDim: 512, topK: 8 };
  const moe = { nLayers: 40, dim: 2048, nKvHeads: 2, ffnDim: 0, moe: experts, fullLayers: everyFourth(40) };
  expect(parse("qwen3_5_moe")).toEqual({ ...shared, ...moe });
});

// https://huggingface.co/Qwen/Qwen3.6-35B-A3B/blob/main/config.json, what it has beside sizes that Qwen3.5's has as well
test("Qwen3.6 is Qwen3.5 with experts: the same model_type, and nothing new that is computed", () => {
  const more = { attn_output_gate: true, output_gate_type: "swish", mamba_ssm_dtype: "float32" };
  const mtp = { mtp_num_hidden_layers: 1, mtp_use_dedicated_embeddings: false };
  const sizes = { num_hidden_layers: 40, hidden_size: 2048, num_experts: 256, num_experts_per_tok: 8, head_dim: 256 };
  const text = { model_type: "qwen3_5_moe_text", ...sizes, max_position_embeddings: 32768 };
  const plain = parse("qwen3_5_moe", { text_config: text });
  expect(parse("qwen3_5_moe", { text_config: { ...text, ...more, ...mtp } })).toEqual({ ...plain, announcesMtp: true });
  expect(plain).toEqual(parse("qwen3_5_moe"));
  const sigmoid = { text_config: { ...text, output_gate_type: "sigmoid" } };
  expect(refusal(() => parse("qwen3_5_moe", sigmoid))).toContain('"text_config.output_gate_type" is "sigmoid"');
});

test.each(["qwen3_5", "qwen3_5_moe"] as const)("%s as text alone is the text of the whole", (family) => {
  const text = { num_hidden_layers: 6, rope_theta: 5, dtype: "bfloat16" };
  const alone = parse(family, { model_type: `${family}_text`, ...text });
  expect(alone).toEqual({ ...parse(family, { text_config: text }), vision: null, tokens: null });
});

test.each([
  ["qwen3_5", "qwen3_5/vision-tied-bf16"],
  ["qwen3_5_moe", "qwen3_5_moe/vision"],
] as const)("%s: v4 and v5 spellings mean the same", (family, name) => {
  const json = fixtureConfig(name);
  const { rope_parameters: rope, layer_types, dtype: _, ...text } = json.text_config;
  const { rope_theta, partial_rotary_factor, ...scaling } = rope;
  const { rope_parameters: __, ...tower } = json.vision_config;
  const { dtype, ...top } = json;
  const v4 = {
    ...top,
    torch_dtype: dtype,
    text_config: {
      ...text,
      full_attention_interval: layer_types.indexOf("full_attention") + 1,
      attn_output_gate: true,
      mlp_only_layers: [],
      rope_theta,
      partial_rotary_factor,
      rope_scaling: scaling,
    },
    vision_config: { ...tower, deepstack_visual_indexes: [] },
  };
  expect(parse(family, v4)).toEqual(parse(family, json));
  expect(math(family, v4)).toEqual(math(family, json));
  expect(parse(family, v4).rope).toEqual({ kind: "default", theta: 1e6, dims: 12 });
});

test("what the fixtures say", () => {
  expect(parse("qwen3_5", fixtureConfig("qwen3_5/vision-tied-bf16"))).toMatchObject({
    tied: true,
    dim: 42,
    fullLayers: [2],
    delta: { nKeyHeads: 2, nValueHeads: 6, keyHeadDim: 10, valueHeadDim: 12, kernel: 4 },
    tokens: { image: 7, video: 8, visionStart: 9, visionEnd: 10 },
    vision: { nBlocks: 2, patchSize: 4, nPositions: 49, outDim: 42 },
    dtype: "bfloat16",
  });
  expect(parse("qwen3_5", fixtureConfig("qwen3_5/dense")).fullLayers).toEqual([1]);
  expect(parse("qwen3_5_moe", fixtureConfig("qwen3_5_moe/vision"))).toMatchObject({
    tied: false,
    mropeSection: [4, 1, 1],
    moe: { nExperts: 5, expertDim: 18, sharedDim: 26, topK: 2 },
  });
});

// As transformers 5.23.0 ties them.
test("the tie counts at the top, or in a config of text alone", () => {
  expect(parse("qwen3_5", { text_config: { tie_word_embeddings: true } }).tied).toBe(false);
  expect(parse("qwen3_5", { text_config: { tie_word_embeddings: false }, tie_word_embeddings: true }).tied).toBe(true);
  expect(parse("qwen3_5", { model_type: "qwen3_5_text", tie_word_embeddings: true }).tied).toBe(true);
});

test("rotated channels: the factor of rope_parameters, then that beside it, then a quarter", () => {
  const dims = (text: Fields) => parse("qwen3_5", { text_config: { head_dim: 20, ...text } }).rope.dims;
  const rope = { rope_type: "default", rope_theta: 3 };
  expect(() => dims({})).toThrow('"text_config.partial_rotary_factor"');
  expect(dims({ partial_rotary_factor: 0.4 })).toBe(8);
  expect(dims({ partial_rotary_factor: 0.4, rope_parameters: rope })).toBe(8);
  expect(dims({ partial_rotary_factor: 0.4, rope_parameters: { ...rope, partial_rotary_factor: 0.6 } })).toBe(12);
  expect(dims({ partial_rotary_factor: 1 })).toBe(20);
});

describe.each(["qwen3_5", "qwen3_5_moe"] as const)("%s", (family) => {
  test.each<Fields>([
    { text_config: { rms_norm_eps: 1e-5 } },
    { text_config: { head_dim: 32 } },
    { text_config: { rope_theta: 1e7 } },
    { text_config: { partial_rotary_factor: 0.5 } },
    { text_config: { rope_parameters: { mrope_section: [8, 12, 12] } } },
    { text_config: { rope_scaling: { rope_type: "yarn", factor: 3, original_max_position_embeddings: 4096 } } },
    { text_config: { full_attention_interval: 2 } },
    { text_config: { linear_num_key_heads: 8 } },
    { text_config: { linear_value_head_dim: 64 } },
    { text_config: { linear_conv_kernel_dim: 3 } },
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
    [{ text_config: { model_type: "qwen3_next" } }, "text_config.model_type"],
    [{ text_config: { hidden_act: "gelu" } }, "text_config.hidden_act"],
    [{ text_config: { attention_bias: true } }, "text_config.attention_bias"],
    [{ text_config: { attn_output_gate: false } }, "text_config.attn_output_gate"],
    [{ text_config: { num_key_value_heads: 5 } }, "heads"],
    [{ text_config: { linear_num_value_heads: 24 } }, "text_config.linear_num_value_heads"],
    [{ text_config: { layer_types: ["full_attention"] } }, "text_config.layer_types"],
    [{ text_config: { num_hidden_layers: 1, layer_types: ["sliding_attention"] } }, "text_config.layer_types"],
    [{ text_config: { partial_rotary_factor: 1.5 } }, "text_config.partial_rotary_factor"],
    [{ text_config: { rope_parameters: { mrope_section: [2, 2] } } }, "mrope_section"],
    [{ text_config: { rope_parameters: { mrope_interleaved: false } } }, "mrope_interleaved"],
    [{ text_config: { rope_parameters: { rope_type: "dynamic" } } }, "rope_type"],
    [{ vision_config: { hidden_act: "silu" } }, "vision_config.hidden_act"],
    [{ vision_config: { num_heads: 7 } }, "vision_config.hidden_size"],
    [{ vision_config: { deepstack_visual_indexes: [8] } }, "vision_config.deepstack_visual_indexes"],
    [{ vision_config: { rope_parameters: { rope_type: "default" } } }, "vision_config.rope_parameters.rope_type"],
    [{ image_token_id: -1 }, "image_token_id"],
    [{ tie_word_embeddings: null }, "tie_word_embeddings"],
    [{ model_type: "qwen3_vl" }, "model_type"],
    [{ model_type: undefined }, "model_type"],
  ])("%o is refused, naming %s", (fields, name) => {
    expect(refusal(() => parse(family, fields))).toContain(name);
  });
});

test.each<Fields>([
  { num_experts_per_tok: 2 },
  { num_experts: 11 },
  { moe_intermediate_size: 7 },
  { shared_expert_intermediate_size: 7 },
])("%o changes what is computed with experts", (text) => {
  expect(math("qwen3_5_moe", { text_config: text })).not.toEqual(math("qwen3_5_moe"));
});

test.each<[Fields, string]>([
  [{ norm_topk_prob: false }, "norm_topk_prob"],
  [{ decoder_sparse_step: 2 }, "decoder_sparse_step"],
  [{ mlp_only_layers: [0] }, "mlp_only_layers"],
  [{ num_experts: 4 }, "num_experts_per_tok"],
])("%o is refused of experts, naming %s", (text, name) => {
  expect(refusal(() => parse("qwen3_5_moe", { text_config: text }))).toContain(name);
});
