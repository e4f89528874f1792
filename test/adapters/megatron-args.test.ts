// Arguments of Megatron-LM's runs as configs: those of the fixtures against Hugging Face's own, and what lists and numbers say.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { gatedDeltaArguments as ownArguments } from "../../adapters/common/gated-delta/megatron-args.ts";
import { adapters } from "../../adapters/registry.ts";
import { megatronConfigOf } from "../../adapters/trainers/megatron-args.ts";
import { expertFields, expertsAsFfn, latentFields, yarnOf } from "../../adapters/trainers/megatron-moe-args.ts";
import { compareConfigs } from "../../src/family/config-differences.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

/** Of text alone and with experts in each layer, Qwen3-Next and Qwen3.5 have the same keys: the user says which. */
const familyAt = (path: string, config?: string, family?: string) => {
  const model = openModel(openCheckpoint(path), { adapters, config, family });
  model.checkpoint.close();
  return model;
};

const FAMILIES = ["mixtral/megatron", "glm4_moe/megatron", "qwen3_moe/megatron", "deepseek_v3/megatron"];

test.each([...FAMILIES, "qwen3_next/megatron-mtp-bf16", "qwen3_next/tied", "qwen3_5/megatron-text"])(
  "%s: the run's arguments give the mathematics of Hugging Face's config, and no difference is told",
  (name) => {
    const { native, hf } = fixture(name);
    expect(compareConfigs(familyAt(native, undefined, name.split("/")[0]).family, familyAt(hf).family)).toEqual([]);
    expect(familyAt(native, hf).stored.notes).toEqual([]);
  },
);

test("of a model with a tower the arguments say too little, and what they say is compared with the config's text", () => {
  const { native, hf } = fixture("qwen3_5_moe/megatron");
  expect(() => familyAt(native)).toThrow(expect.objectContaining({ code: "CONFIG_MISSING" }));
  expect(familyAt(native, hf).stored.notes).toEqual([]);
  const folder = scratch();
  const config = JSON.parse(readFileSync(join(hf, "config.json"), "utf8"));
  const text_config = { ...config.text_config, rms_norm_eps: 1e-5 };
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, text_config }));
  expect(familyAt(native, folder).stored.notes).toEqual([
    expect.stringMatching(/^text_config\.rms_norm_eps is 0\.00001 in .*0\.000001 in the run/),
  ]);
});

test("gpt-oss has the ffn of an expert as intermediate_size: the run's own says nothing against it", () => {
  const { native, hf } = fixture("gpt_oss/megatron");
  expect(familyAt(native, hf).stored.notes).toEqual([expect.stringContaining("does not say rope_parameters:")]);
});

test("layers with experts: a list, every how many-th layer, or no word of it", () => {
  const args = { num_experts: 4, ffn_hidden_size: 26, num_layers: 5 };
  expect(expertFields({})).toEqual({});
  expect(expertFields(args)).not.toHaveProperty("mlp_only_layers");
  expect(expertFields({ ...args, moe_layer_freq: [0, 1, 0, 1, 1] })).toMatchObject({ mlp_only_layers: [0, 2] });
  expect(expertFields({ ...args, moe_layer_freq: 2 })).toMatchObject({ mlp_only_layers: [1, 3] });
  expect(expertFields({ ...args, moe_router_pre_softmax: true })).toMatchObject({ norm_topk_prob: false });
  expect(expertFields({ ...args, moe_shared_expert_intermediate_size: 52 })).toMatchObject({ n_shared_experts: 2 });
  expect(expertsAsFfn(args)).toEqual({ intermediate_size: 26 });
  expect(expertsAsFfn({ ...args, moe_ffn_hidden_size: 10 })).toEqual({ intermediate_size: 10 });
  expect(expertsAsFfn({ ffn_hidden_size: 26 })).toEqual({});
});

test("latent attention and YaRN have names of their own", () => {
  expect(latentFields({ q_lora_rank: 3 })).toEqual({});
  const latent = { multi_latent_attention: true, q_lora_rank: null, qk_head_dim: 8, num_attention_heads: 4 };
  expect(latentFields(latent)).toEqual({ q_lora_rank: null, qk_nope_head_dim: 8, num_key_value_heads: 4 });
  // DeepseekV3Config has `head_dim` of its rotary channels, whatever `kv_channels` says.
  expect(latentFields({ ...latent, qk_pos_emb_head_dim: 6 })).toMatchObject({ qk_rope_head_dim: 6, head_dim: 6 });
  const yarn = { position_embedding_type: "yarn", yarn_rotary_scaling_factor: 4 };
  expect(yarnOf({ position_embedding_type: "rope" }, 1e4)).toBeNull();
  expect(yarnOf(yarn, 1e4)).toBeUndefined();
  expect(yarnOf({ ...yarn, yarn_original_max_position_embeddings: 64 }, 1e4)).toMatchObject({ factor: 4 });
});

test("layers of Qwen3-Next: a list has 1 for a delta net, a number says which have full attention", () => {
  const [delta, full] = ["linear_attention", "full_attention"];
  const typesOf = (args: object) => ownArguments.fields!({ ...args }).layer_types;
  expect(typesOf({ linear_attention_freq: 3, num_layers: 4 })).toEqual([delta, delta, full, delta]);
  expect(typesOf({ linear_attention_freq: [0, 1, 1], num_layers: 3 })).toEqual([full, delta, delta]);
  expect(typesOf({ num_layers: 3 })).toBeUndefined();
});

test.each([
  ["norms around 1 where the family's lie around 0", { apply_layernorm_1p: false }, ownArguments],
  ["norms around 0 where the family's lie around 1", { apply_layernorm_1p: true }, {}],
  ["channels of RoPE in turns", { rotary_interleaved: true }, {}],
])("%s are refused: the same shapes, and other weights", (_, args, own) => {
  const [[name, found]] = Object.entries(args) as [[string, boolean]];
  const read = (value: boolean) => () => megatronConfigOf({ num_layers: 2, [name]: value }, "common.pt", own);
  expect(read(found)).toThrow(
    expect.objectContaining({
      code: "CONFIG_UNSUPPORTED",
      details: expect.objectContaining({ file: "common.pt", found: `${name} ${found}` }),
    }),
  );
  expect(read(!found)).not.toThrow();
});
