import { describe, expect, test } from "vitest";
import { parseHfDenseConfig } from "../../../adapters/hf_dense/config.ts";
import { hfDense } from "../../../adapters/hf_dense/index.ts";
import { refusal } from "../refuse.ts";

const json = { model_type: "olmo2", vocab_size: 7, hidden_size: 10, num_hidden_layers: 3 };
const parse = (fields: Record<string, unknown> = {}) => parseHfDenseConfig({ ...json, ...fields }, "config.json");

test("sizes are read as given", () => {
  expect(parse({ max_position_embeddings: 64, dtype: "bfloat16" })).toEqual({
    modelType: "olmo2",
    nLayers: 3,
    vocabSize: 7,
    dim: 10,
    tied: false,
    maxPositions: 64,
    dtype: "bfloat16",
  });
});

test.each([
  ["olmo2", undefined, false],
  ["olmo2", true, true],
  ["gemma2", undefined, true],
  ["gemma2", false, false],
])("%s with tie_word_embeddings %s is tied: %s", (model_type, tie_word_embeddings, tied) => {
  expect(parse({ model_type, tie_word_embeddings }).tied).toBe(tied);
});

test("v4 and v5 spellings are one", () => {
  expect(parse({ torch_dtype: "float16" }).dtype).toBe("float16");
  const mathOf = (fields: Record<string, unknown>) => hfDense.open({ ...json, ...fields }, "config.json").math();
  const v4 = mathOf({ rope_theta: 5e5, rope_scaling: { type: "linear", factor: 2 }, torch_dtype: "bfloat16" });
  const v5 = mathOf({ rope_parameters: { rope_type: "linear", rope_theta: 5e5, factor: 2 }, dtype: "float32" });
  expect(v4).toEqual(v5);
  expect(mathOf({ rope_theta: 5e5, rope_scaling: null })).toEqual(
    mathOf({ rope_parameters: { rope_type: "default", rope_theta: 5e5 } }),
  );
});

test.each(["rms_norm_eps", "sliding_window", "attention_multiplier", "final_logit_softcapping"])(
  "%s shows in the mathematics",
  (field) => {
    const mathOf = (value: number) => hfDense.open({ ...json, [field]: value }, "config.json").math();
    expect(mathOf(1)).not.toEqual(mathOf(2));
  },
);

test("tying that the config leaves to its class shows in the mathematics", () => {
  const gemma = { ...json, model_type: "gemma2" };
  expect(hfDense.open(gemma, "").math()).toEqual(hfDense.open({ ...gemma, tie_word_embeddings: true }, "").math());
});

describe("what is refused", () => {
  test.each([
    [{ num_local_experts: 8 }, '"num_local_experts" is 8, which makes this a mixture of experts'],
    [{ n_routed_experts: 8 }, '"n_routed_experts" is 8'],
    [{ is_moe: true }, '"is_moe" is true'],
    [{ is_encoder_decoder: true }, '"is_encoder_decoder" is true, which makes this no decoder'],
    [{ text_config: { hidden_size: 3 } }, "which is one part of a model with several"],
    [{ attention_bias: true }, '"attention_bias" is true, which torchtitan\'s transformers backend overrules'],
    [{ mlp_bias: true }, '"mlp_bias" is true'],
    [{ model_type: "glm" }, '"attention_bias" is nothing'],
    [{ model_type: "internlm3", qkv_bias: true }, '"qkv_bias" is true'],
  ])("%o", (fields, message) => {
    const failure = refusal(() => parse(fields));
    expect(failure).toContain("CONFIG_UNSUPPORTED: config.json: ");
    expect(failure).toContain(message);
  });

  test.each([
    [{ model_type: undefined }, '"model_type" must be a string, found nothing'],
    [{ vocab_size: undefined }, '"vocab_size" must be a positive integer, found nothing'],
    [{ num_hidden_layers: 0 }, '"num_hidden_layers" must be a positive integer, found 0'],
    [{ model_type: "never_seen" }, '"tie_word_embeddings" must be true or false, found nothing'],
  ])("%o", (fields, message) => {
    expect(refusal(() => parse(fields))).toBe(`INVALID_CONFIG: config.json: ${message}`);
  });

  test.each([
    { num_experts: 16384, is_moe: false },
    { num_local_experts: 1 },
    { num_experts: 0 },
    { attention_bias: false },
  ])("but not %o", (fields) => {
    expect(parse(fields).nLayers).toBe(3);
  });
});
