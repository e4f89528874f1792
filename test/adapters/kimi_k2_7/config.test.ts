import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseDeepseekV3Config } from "../../../adapters/deepseek_v3/config.ts";
import { parseKimiConfig } from "../../../adapters/kimi_k2_7/config.ts";
import { kimiK27 } from "../../../adapters/kimi_k2_7/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { refusal } from "../refuse.ts";

type Fields = Record<string, unknown>;

const parse = (fields: Fields = {}) => parseKimiConfig({ model_type: "kimi_k25", ...fields }, "config.json");
const math = (fields: Fields = {}) => kimiK27.open({ model_type: "kimi_k25", ...fields }, "config.json").math();

test("absent fields take the defaults of Kimi_K25Config 5.23.0", () => {
  expect(parse()).toEqual({
    modelType: "kimi_k25",
    text: { ...parseDeepseekV3Config({ model_type: "deepseek_v3" }, "config.json"), nMtpLayers: 0, tied: true },
    vision: {
      nBlocks: 27,
      dim: 1152,
      ffnDim: 4304,
      nHeads: 16,
      patchSize: 14,
      positionRows: 64,
      positionColumns: 64,
      frames: 4,
      mergeRows: 2,
      mergeColumns: 2,
      ropeTheta: 10000,
      projectorEps: 1e-5,
    },
    tokens: { image: 163605, video: 163840, visionStart: 163602, visionEnd: 163604 },
    dtype: null,
  });
});

const fixture = JSON.parse(readFileSync(`${FIXTURES}kimi_k2_7/images/hf/config.json`, "utf8"));

test("v4 and v5 spellings, the Hub's and transformers', mean the same", () => {
  const { text_config: text, vision_config: vision, image_token_id, projection_hidden_size, ...rest } = fixture;
  const { rope_parameters: rope, dtype, ...inText } = text;
  const { rope_theta, rope_type: type, ...scaling } = rope;
  const released = {
    ...rest,
    media_placeholder_token_id: image_token_id,
    projection_layer_norm_eps: undefined,
    text_config: {
      ...inText,
      model_type: "kimi_k2",
      torch_dtype: dtype,
      rope_theta,
      rope_scaling: { type, ...scaling },
    },
    vision_config: {
      vt_hidden_size: vision.hidden_size,
      vt_intermediate_size: vision.intermediate_size,
      vt_num_attention_heads: vision.num_attention_heads,
      vt_num_hidden_layers: vision.num_hidden_layers,
      init_pos_emb_height: vision.pos_emb_height,
      init_pos_emb_width: vision.pos_emb_width,
      init_pos_emb_time: vision.pos_emb_time,
      patch_size: vision.patch_size,
      merge_kernel_size: vision.merge_kernel_size,
      mm_hidden_size: projection_hidden_size,
      mm_projector_type: "patchmerger",
      projector_hidden_act: "gelu",
      projector_ln_eps: 1e-5,
    },
  };
  expect(parse(released)).toEqual(parse(fixture));
  expect(parse(released).text.rope).toMatchObject({ kind: "yarn", factor: 8, mscaleAllDim: 1, dims: 8 });
});

test("tying counts at the top, in Kimi-VL in the text model", () => {
  expect(parse({ tie_word_embeddings: false, text_config: { tie_word_embeddings: true } }).text.tied).toBe(false);
  expect(parse({ model_type: "kimi_vl", text_config: { tie_word_embeddings: true } }).text.tied).toBe(true);
  expect(parse({ model_type: "kimi_vl" }).text.tied).toBe(false);
});

test("the attention scale grows with YaRN's mscale_all_dim, squared", () => {
  const rope = { rope_type: "yarn", factor: 64, mscale: 1, mscale_all_dim: 1, original_max_position_embeddings: 4096 };
  expect(math({ text_config: { rope_parameters: rope } }).attentionScale).toBeCloseTo(
    192 ** -0.5 * (0.1 * Math.log(64) + 1) ** 2,
    15,
  );
});

test.each<Fields>([
  { text_config: { routed_scaling_factor: 2.827 } },
  { text_config: { n_group: 1 } },
  { text_config: { rope_theta: 50000 } },
  { vision_config: { pos_emb_time: 1 } },
  { vision_config: { merge_kernel_size: [1, 4] } },
  { vision_config: { rope_parameters: { rope_type: "axial", rope_theta: 5000 } } },
  { vision_config: { num_attention_heads: 8 } },
  { projection_layer_norm_eps: 1e-6 },
  { image_token_id: 3 },
  { tie_word_embeddings: false },
])("%o changes what is computed", (fields) => {
  expect(math(fields)).not.toEqual(math());
});

describe("refused, naming the field", () => {
  test.each<[Fields, string]>([
    [{ model_type: "kimi_k2" }, '"model_type" must be "kimi_k25" or "kimi_vl"'],
    [{ model_type: undefined }, '"model_type" must be "kimi_k25" or "kimi_vl"'],
    [{ text_config: { model_type: "llama" } }, '"text_config.model_type" is "llama"'],
    [{ text_config: { q_lora_rank: 0 } }, '"text_config.q_lora_rank" must be'],
    [{ text_config: { attention_bias: true } }, '"text_config.attention_bias" is true'],
    [{ vision_config: { hidden_act: "silu" } }, '"vision_config.hidden_act" is "silu"'],
    [{ vision_config: { mm_projector_type: "mlp" } }, '"vision_config.mm_projector_type" is "mlp"'],
    [{ vision_config: { num_attention_heads: 7 } }, '"vision_config.hidden_size" must be'],
    [{ vision_config: { merge_kernel_size: 2 } }, '"vision_config.merge_kernel_size" must be'],
    [{ vision_config: { merge_kernel_size: [2, 0] } }, '"vision_config.merge_kernel_size" must be'],
    [{ projection_hidden_size: 1024 }, '"projection_hidden_size" must be the width of the tower (1152)'],
    [{ tie_word_embeddings: null }, '"tie_word_embeddings" must be'],
  ])("%o", (fields, message) => {
    expect(refusal(() => parse(fields))).toContain(message);
  });
});
