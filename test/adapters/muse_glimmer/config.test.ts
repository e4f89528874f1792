import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseMuseGlimmerConfig } from "../../../adapters/muse_glimmer/config.ts";
import { museGlimmer } from "../../../adapters/muse_glimmer/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { refusal } from "../refuse.ts";

type Fields = Record<string, unknown>;

const parse = (fields: Fields = {}) => parseMuseGlimmerConfig({ model_type: "muse_glimmer", ...fields }, "config.json");
const math = (fields: Fields = {}) => museGlimmer.open({ model_type: "muse_glimmer", ...fields }, "config.json").math();

const fourths = (size: number) => [...Array(size).keys()].filter((i) => (i + 1) % 4 === 0);
const between = (size: number) => [...Array(size).keys()].filter((i) => (i + 1) % 4 !== 0);

test("absent fields take the defaults of MuseGlimmerConfig 5.23.0", () => {
  expect(parse()).toEqual({
    nLayers: 52,
    vocabSize: 202048,
    dim: 6656,
    ffnDim: 19968,
    nHeads: 32,
    nKvHeads: 2,
    headDim: 128,
    normEps: 1e-5,
    postNormEps: 1e-8,
    tied: false,
    rope: { kind: "default", theta: 10000, dims: 128 },
    unrotatedLayers: fourths(52),
    slidingLayers: between(52),
    window: 2048,
    queryScale: 3.87,
    outputMultiplier: 0.19611613513818404,
    logitCap: 20,
    maxPositions: 131072,
    vision: {
      nBlocks: 50,
      dim: 1536,
      ffnDim: 8960,
      nHeads: 16,
      patchSize: 14,
      patchFrames: 2,
      positionRows: 32,
      positionColumns: 32,
      mergeSize: 2,
      windowBlocks: between(50).filter((b) => b !== 49),
      adapterDim: 4096,
      normEps: 1e-5,
      ropeTheta: 10000,
    },
    tokens: { image: 200092, video: 200091 },
    dtype: null,
  });
});

test("v4 and v5 spellings mean the same, and layer types are those of the default where they say so", () => {
  const json = JSON.parse(readFileSync(`${FIXTURES}muse_glimmer/images-bf16/hf/config.json`, "utf8"));
  const { text_config: text, dtype, ...rest } = json;
  const { rope_parameters: rope, layer_types: _, layer_rope_theta: __, dtype: ___, ...inText } = text;
  const v4 = { ...rest, torch_dtype: dtype, text_config: { ...inText, rope_theta: rope.rope_theta } };
  expect(parse(v4)).toEqual(parse(json));
  expect(parse(json)).toMatchObject({ unrotatedLayers: [1, 5], slidingLayers: [0, 2, 3, 4], window: 37 });
  expect(parse(json).vision?.windowBlocks).toEqual([0, 1, 3]);
});

test("layers are counted from the last", () => {
  expect(parse({ text_config: { num_hidden_layers: 5 } }).unrotatedLayers).toEqual([0, 4]);
});

test.each<Fields>([
  { text_config: { rms_norm_eps: 1e-6 } },
  { text_config: { post_norm_eps: 1e-5 } },
  { text_config: { qk_scale_factor: 1 } },
  { text_config: { output_multiplier: 1 } },
  { text_config: { final_logit_softcapping: 30 } },
  { text_config: { sliding_window: 128 } },
  { text_config: { rope_theta: 5e5 } },
  { text_config: { layer_types: Array(52).fill("full_attention") } },
  { text_config: { layer_rope_theta: Array(52).fill(0) } },
  { vision_config: { layer_types: Array(50).fill("full_attention") } },
  { vision_config: { layer_norm_eps: 1e-6 } },
  { vision_config: { rope_parameters: { rope_type: "axial", rope_theta: 5000 } } },
  { vision_config: null },
  { image_token_id: 3 },
  { tie_word_embeddings: true },
])("%o changes what is computed", (fields) => {
  expect(math(fields)).not.toEqual(math());
});

describe("refused, naming the field", () => {
  test.each<[Fields, string]>([
    [{ model_type: "muse_spark" }, '"model_type" is "muse_spark", which is another family'],
    [{ model_type: undefined }, '"model_type" must be "muse_glimmer"'],
    [{ projector_hidden_act: "relu" }, '"projector_hidden_act" is "relu"'],
    [{ out_hidden_size: 6000 }, '"out_hidden_size" must be'],
    [{ text_config: { attention_bias: true } }, '"text_config.attention_bias" is true'],
    [{ text_config: { hidden_activation: "gelu" } }, '"text_config.hidden_activation" is "gelu"'],
    [{ text_config: { layer_types: ["full_attention"] } }, '"text_config.layer_types" must be'],
    [{ text_config: { layer_types: Array(52).fill("chunked_attention") } }, '"text_config.layer_types" must be'],
    [{ text_config: { layer_rope_theta: [0] } }, '"text_config.layer_rope_theta" must be'],
    [{ text_config: { layer_rope_theta: Array(52).fill(5e5) } }, '"text_config.layer_rope_theta" is [500000'],
    [{ text_config: { num_key_value_heads: 5 } }, "heads"],
    [{ vision_config: { hidden_act: "silu" } }, '"vision_config.hidden_act" is "silu"'],
    [{ vision_config: { num_attention_heads: 7 } }, '"vision_config.hidden_size" must be'],
    [{ vision_config: { rope_parameters: { rope_type: "default" } } }, '"vision_config.rope_parameters.rope_type"'],
  ])("%o", (fields, message) => {
    expect(refusal(() => parse(fields))).toContain(message);
  });
});
