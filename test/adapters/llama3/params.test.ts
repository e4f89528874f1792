import { expect, test } from "vitest";
import { llama3 } from "../../../adapters/llama3/index.ts";
import { nativeLayout } from "../../helpers/layouts.ts";
import { refusal } from "../refuse.ts";

const open = (params: Record<string, unknown>, shapes?: ReadonlyMap<string, readonly number[]>) =>
  llama3.open(params, "original/params.json", shapes);

const LLAMA31_ROPE = {
  rope_type: "llama3",
  rope_theta: 5e5,
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};

/** As Meta publishes them. */
const LLAMA2_70B = {
  dim: 8192,
  multiple_of: 4096,
  ffn_dim_multiplier: 1.3,
  n_heads: 64,
  n_kv_heads: 8,
  n_layers: 80,
  norm_eps: 1e-5,
};
const LLAMA3_8B = {
  dim: 4096,
  n_layers: 32,
  n_heads: 32,
  n_kv_heads: 8,
  vocab_size: 128256,
  multiple_of: 1024,
  ffn_dim_multiplier: 1.3,
  norm_eps: 1e-5,
  rope_theta: 500000.0,
};

test.each([
  [LLAMA3_8B, { ffnDim: 14336, headDim: 128, nKvHeads: 8 }],
  [
    { ...LLAMA2_70B, vocab_size: 32000 },
    { ffnDim: 28672, headDim: 128, nKvHeads: 8 },
  ],
  [
    { dim: 4096, multiple_of: 256, n_heads: 32, n_layers: 32, vocab_size: 32000 },
    { ffnDim: 11008, nKvHeads: 32 },
  ],
])("%o", (params, expected) => {
  const family = open(params);
  expect(family.math()).toMatchObject(expected);
  const [file] = nativeLayout(family, "meta").files();
  expect(open({ ...file?.json }).math()).toEqual(family.math());
  expect(nativeLayout(family, "torchtitan").files()).toEqual([]);
});

test("a vocabulary of -1 is that of the tensors, cut either way", () => {
  const params = { ...LLAMA2_70B, vocab_size: -1 };
  const wo = ["layers.0.attention.wo.weight", [8192, 1024]] as const;
  for (const embedding of [
    [32000, 1024],
    [4000, 8192],
  ])
    expect(open(params, new Map<string, readonly number[]>([["tok_embeddings.weight", embedding], wo])).vocabSize).toBe(
      32000,
    );
  expect(refusal(() => open(params))).toContain('"vocab_size"');
});

test("the factor of scaled RoPE is 8, and 32 at the sizes of Llama 3.2", () => {
  const factorOf = (params: Record<string, unknown>) => {
    const { rope_parameters: rope } = open({ ...params, use_scaled_rope: true }).hfConfig();
    return rope;
  };
  expect(factorOf(LLAMA3_8B)).toMatchObject({ rope_type: "llama3", factor: 8 });
  expect(factorOf({ ...LLAMA3_8B, dim: 2048, n_layers: 16 })).toMatchObject({ factor: 32 });
  expect(factorOf({ ...LLAMA3_8B, rope_scaling_factor: 16 })).toMatchObject({ factor: 16 });
});

test("feed-forwards of any size can be said", () => {
  for (const size of [1, 75, 133, 1000, 4097, 14336]) {
    const config = { model_type: "llama", hidden_size: 96, num_attention_heads: 4, intermediate_size: size };
    const [file] = nativeLayout(llama3.open(config, "config.json"), "meta").files();
    expect(open({ ...file?.json }).math(), `${size}`).toMatchObject({ ffnDim: size });
  }
});

test.each([
  ['"attention_bias": true', { attention_bias: true }],
  ['"mlp_bias": true', { mlp_bias: true }],
  ['"head_dim": 16', { head_dim: 16 }],
  ['"rope_type": "linear"', { rope_parameters: { rope_type: "linear", factor: 2, rope_theta: 1e4 } }],
  ['"low_freq_factor": 2', { rope_parameters: { ...LLAMA31_ROPE, low_freq_factor: 2 } }],
  [
    '"original_max_position_embeddings": 4096',
    { rope_parameters: { ...LLAMA31_ROPE, original_max_position_embeddings: 4096 } },
  ],
])("%s cannot be said", (what, fields) => {
  const config = { model_type: "llama", hidden_size: 96, num_attention_heads: 4, ...fields };
  expect(refusal(() => nativeLayout(llama3.open(config, "config.json"), "meta").files())).toContain(
    `CONFIG_UNSUPPORTED: params.json cannot say ${what}`,
  );
});

test.each(["quantization_args", "lora_args", "vision_model", "moe", "hidden_dim"])("%s is refused", (field) => {
  expect(refusal(() => open({ ...LLAMA3_8B, [field]: { scheme: 1 } }))).toContain(`"${field}"`);
});

test("torchtitan's model args are told apart by what only they have", () => {
  expect(open({ ...LLAMA3_8B }).hfConfig().rope_parameters).toMatchObject({ rope_type: "default" });
  expect(open({ ...LLAMA3_8B, max_seq_len: 8192 }).hfConfig().rope_parameters).toMatchObject({ rope_type: "llama3" });
});
