import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseDeepseekV3Config } from "../../../adapters/deepseek_v3/config.ts";
import { deepseekV3 } from "../../../adapters/deepseek_v3/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { refusal } from "../refuse.ts";

const parse = (fields: Record<string, unknown> = {}) =>
  parseDeepseekV3Config({ model_type: "deepseek_v3", ...fields }, "config.json");
const math = (fields: Record<string, unknown> = {}) =>
  deepseekV3.open({ model_type: "deepseek_v3", ...fields }, "config.json").math();

test("absent fields take the defaults of DeepseekV3Config 5.23.0", () => {
  expect(parse()).toEqual({
    nLayers: 61,
    nDenseLayers: 3,
    nMtpLayers: 1,
    announcesMtp: false,
    vocabSize: 129280,
    dim: 7168,
    ffnDim: 18432,
    nHeads: 128,
    qLoraRank: 1536,
    kvLoraRank: 512,
    nopeDim: 128,
    ropeDim: 64,
    valueDim: 128,
    nExperts: 256,
    expertDim: 2048,
    nSharedExperts: 1,
    expertsPerToken: 8,
    nGroups: 8,
    groupsPerToken: 4,
    normaliseWeights: true,
    routeScale: 2.5,
    normEps: 1e-6,
    tied: false,
    rope: { kind: "default", theta: 10000, dims: 64 },
    maxPositions: 4096,
    dtype: null,
  });
});

test("v4 and v5 spellings mean the same", () => {
  const json = JSON.parse(readFileSync(`${FIXTURES}deepseek_v3/qlora-groups/hf/config.json`, "utf8"));
  const { rope_parameters: rope, num_nextn_predict_layers: mtp, dtype, ...rest } = json;
  const { rope_theta: theta, rope_type: type, ...scaling } = rope;
  const v4 = {
    ...rest,
    num_mtp_layers: mtp,
    torch_dtype: dtype,
    rope_theta: theta,
    rope_scaling: { type, ...scaling },
  };
  expect(parse(v4)).toEqual(parse(json));
  expect(parse(v4).rope).toMatchObject({ kind: "yarn", factor: 8, mscaleAllDim: 1, dims: 10 });
});

describe("math", () => {
  test("the attention scale grows with YaRN's mscale_all_dim, squared", () => {
    const rope = {
      rope_type: "yarn",
      factor: 40,
      mscale: 1,
      mscale_all_dim: 1,
      original_max_position_embeddings: 4096,
    };
    const mscale = 0.1 * Math.log(40) + 1;
    expect(math({ rope_parameters: rope }).attentionScale).toBeCloseTo(192 ** -0.5 * mscale * mscale, 15);
    expect(math({ rope_parameters: { ...rope, mscale_all_dim: 0.5 } }).attentionScale).toBeCloseTo(
      192 ** -0.5 * (0.05 * Math.log(40) + 1) ** 2,
      15,
    );
    expect(math().attentionScale).toBe(192 ** -0.5);
    // 0 is as good as absent: then YaRN's own factor, 0.1·ln 40 + 1, goes on cos and sin.
    const none = math({ rope_parameters: { ...rope, mscale: 0, mscale_all_dim: 0 } });
    expect(none.attentionScale).toBe(192 ** -0.5);
    expect(none.ropeAttentionFactor).toBeCloseTo(mscale, 15);
    const { mscale: _, mscale_all_dim: __, ...plain } = rope;
    expect(none).toEqual(math({ rope_parameters: plain }));
  });

  test.each([
    ["rms_norm_eps", 1e-5],
    ["routed_scaling_factor", 1],
    ["norm_topk_prob", false],
    ["n_group", 4],
    ["topk_group", 2],
    ["num_experts_per_tok", 6],
    ["rope_theta", 50000],
  ])("%s changes it", (field, value) => {
    expect(math({ [field]: value })).not.toEqual(math());
  });
});

test.each([
  [{ model_type: "llama" }, '"model_type" is "llama", which is another family'],
  [{ model_type: undefined }, '"model_type" must be "deepseek_v3"'],
  [{ attention_bias: true }, '"attention_bias" is true, which has no place on the native side'],
  [{ rope_interleave: false }, '"rope_interleave" is false'],
  [{ num_key_value_heads: 8 }, '"num_key_value_heads" is 8'],
  [{ n_group: 7 }, '"n_group" must be a divisor of n_routed_experts (256)'],
  [{ qk_rope_head_dim: 9 }, '"qk_rope_head_dim" must be even'],
  [{ hidden_act: "gelu" }, '"hidden_act" is "gelu"'],
  [{ q_lora_rank: 0 }, '"q_lora_rank" must be a positive integer'],
])("%o is refused", (fields, message) => {
  expect(refusal(() => parse(fields))).toContain(message);
});
