import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { kimiK27 } from "../../../adapters/kimi_k2_7/index.ts";
import { adapters } from "../../../adapters/registry.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { compiledTable, detected } from "../../helpers/layouts.ts";
import { edited, type Tensors, tensorsOf } from "../headers.ts";
import { refusal } from "../refuse.ts";

type Fields = Record<string, unknown>;

const text = {
  vocab_size: 7,
  hidden_size: 12,
  intermediate_size: 5,
  moe_intermediate_size: 3,
  num_hidden_layers: 3,
  first_k_dense_replace: 1,
  num_attention_heads: 3,
  num_key_value_heads: 3,
  q_lora_rank: 6,
  kv_lora_rank: 8,
  qk_nope_head_dim: 10,
  qk_rope_head_dim: 4,
  v_head_dim: 9,
  n_routed_experts: 12,
  n_shared_experts: 2,
  n_group: 1,
  topk_group: 1,
};
const vision = {
  hidden_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 10,
  patch_size: 3,
  pos_emb_height: 5,
  pos_emb_width: 7,
  merge_kernel_size: [2, 3],
};

const configOf = (top: Fields = {}, inText: Fields = {}, inVision: Fields = {}) => ({
  model_type: "kimi_k25",
  projection_hidden_size: 16,
  tie_word_embeddings: false,
  ...top,
  text_config: { ...text, ...inText },
  vision_config: { ...vision, ...inVision },
});

function tableOf(top: Fields = {}, inText: Fields = {}, inVision: Fields = {}) {
  const family = kimiK27.open(configOf(top, inText, inVision), "config.json");
  return compiledTable(family, "torchtitan");
}

test.each<[Fields, Fields, Fields]>([
  [{}, {}, {}],
  [{ tie_word_embeddings: true }, { q_lora_rank: null }, {}],
  [{ model_type: "kimi_vl" }, { first_k_dense_replace: 0 }, { merge_kernel_size: [1, 1] }],
])("with %o, %o, %o: what one direction makes, the other takes", (...fields) => {
  const table = tableOf(...fields);
  const hf = tensorsOf(table, "hf");
  const native = table.plan("fromHf", hf).moves;
  const back = table.plan("toHf", new Map(native.map(({ key, shape }) => [key, { dtype: "F32" as const, shape }])));
  expect(new Map(back.moves.map(({ key, shape }) => [key, shape]))).toEqual(
    new Map([...hf].map(([key, { shape }]) => [key, shape])),
  );
});

test("has the keys and shapes of upstream's debug model", () => {
  const history = JSON.parse(readFileSync(`${FIXTURES}layouts/torchtitan.json`, "utf8")).kimi_k2_7.debugmodel;
  const sizes = { vocab_size: 2048, hidden_size: 256, intermediate_size: 1024, moe_intermediate_size: 256 };
  const heads = { num_attention_heads: 16, num_key_value_heads: 16, q_lora_rank: null, n_routed_experts: 8 };
  const latent = { kv_lora_rank: 512, qk_nope_head_dim: 128, qk_rope_head_dim: 64, v_head_dim: 128 };
  const tower = { hidden_size: 256, intermediate_size: 512, num_attention_heads: 4, patch_size: 14 };
  const table = tableOf(
    { projection_hidden_size: 256 },
    { ...sizes, ...heads, ...latent },
    { ...tower, pos_emb_height: 16, pos_emb_width: 16, merge_kernel_size: [2, 2] },
  );
  const ours = [...tensorsOf(table, "native")].map(([key, { shape }]) => [key.replace(/\.\d+\./, ".{}."), [shape]]);
  expect(Object.fromEntries(ours)).toEqual(history);
});

test("is recognised, with its config and without, and is no DeepSeek-V3", () => {
  const native = tensorsOf(tableOf(), "native");
  expect(detected(adapters, native, configOf())).toEqual({ adapter: kimiK27, layout: "torchtitan" });
  expect(detected(adapters, native, null)).toEqual({ adapter: kimiK27, layout: "torchtitan" });
  expect(detected(adapters, tensorsOf(tableOf(), "hf"), null)).toEqual({ adapter: kimiK27, layout: "hf" });
  const textAlone = edited(native, (all) => {
    for (const key of [...all.keys()]) if (key.startsWith("vision_encoder.")) all.delete(key);
  });
  expect(detected(adapters, textAlone, { model_type: "deepseek_v3" }).adapter.family).toBe("deepseek_v3");
});

const K25 = ["pre_norm", "proj.0", "proj.2"].map((name) => `mm_projector.${name}`);
const KIMI_VL = ["pre_norm", "linear_1", "linear_2"].map((name) => `multi_modal_projector.${name}`);

/** Keys of HF files, spelled otherwise. */
const respelled = (tensors: Tensors, spell: (key: string) => string): Tensors =>
  new Map([...tensors].map(([key, tensor]) => [spell(key), tensor]));

describe("spellings", () => {
  const toKimiVl = (key: string) => {
    const i = K25.findIndex((name) => key.startsWith(`${name}.`));
    return i < 0 ? key : key.replace(K25[i]!, KIMI_VL[i]!);
  };

  test.each([
    ["kimi_k25", K25],
    ["kimi_vl", KIMI_VL],
  ])("%s writes %s and reads both", (model_type, names) => {
    const table = tableOf({ model_type });
    const hf = tensorsOf(table, "hf");
    const projector = [...hf.keys()].filter((key) => key.includes("projector"));
    expect(projector).toEqual(names.flatMap((name) => [`${name}.weight`, `${name}.bias`]));
    const k25 = tensorsOf(tableOf(), "hf");
    for (const files of [k25, respelled(k25, toKimiVl)])
      expect(table.plan("fromHf", files).moves.map(({ key }) => key)).toEqual(
        table.plan("fromHf", hf).moves.map(({ key }) => key),
      );
  });

  test.each([
    ["without model.", (key: string) => key.replace("language_model.model.layers.", "language_model.layers.")],
    ["as transformers 5 saves them", (key: string) => key.replace("model.layers.", "model.blocks.")],
  ])("text layers %s", (_, spell) => {
    const table = tableOf();
    const other = respelled(tensorsOf(table, "hf"), spell);
    const plan = table.plan("fromHf", other);
    expect(plan.spelling.get("language_model.model.layers.0.input_layernorm.weight")).toBe(
      spell("language_model.model.layers.0.input_layernorm.weight"),
    );
    const native = new Map(plan.moves.map(({ key, shape }) => [key, { dtype: "F32" as const, shape }]));
    const back = table.plan("toHf", native, { spelling: plan.spelling });
    expect(back.moves.map(({ key }) => key).sort()).toEqual([...other.keys()].sort());
  });

  test("one tensor in two spellings is refused", () => {
    const table = tableOf();
    const both = edited(tensorsOf(table, "hf"), (all) =>
      all.set("multi_modal_projector.linear_1.bias", all.get("mm_projector.proj.0.bias")!),
    );
    expect(refusal(() => table.plan("fromHf", both))).toMatch(/^TWO_SPELLINGS: .*"mm_projector\.proj\.0\.bias"/);
  });
});

test("inv_freq of older files is left out", () => {
  const table = tableOf();
  const key = "language_model.model.layers.1.self_attn.rotary_emb.inv_freq";
  const hf = edited(tensorsOf(table, "hf"), (all) => all.set(key, { dtype: "F32", shape: [2] }));
  expect(table.plan("fromHf", hf).dropped.map((one) => one.key)).toEqual([key]);
});

/** Tensors of each part of the model: text, experts, tower, projector. */
const ledger = [
  ["fromHf", "language_model.model.embed_tokens.weight"],
  ["fromHf", "language_model.model.layers.0.mlp.up_proj.weight"],
  ["fromHf", "language_model.model.layers.2.mlp.experts.10.down_proj.weight"],
  ["fromHf", "language_model.model.layers.1.mlp.gate.e_score_correction_bias"],
  ["fromHf", "language_model.lm_head.weight"],
  ["fromHf", "vision_tower.patch_embed.proj.weight"],
  ["fromHf", "vision_tower.patch_embed.pos_emb.weight"],
  ["fromHf", "vision_tower.encoder.blocks.1.wqkv.bias"],
  ["fromHf", "vision_tower.encoder.final_layernorm.weight"],
  ["fromHf", "mm_projector.proj.2.weight"],
  ["toHf", "layers.1.moe.routed_experts.inner_experts.w2_EDF"],
  ["toHf", "layers.2.moe.expert_bias_E"],
  ["toHf", "layers.0.attention.wq_b.weight"],
  ["toHf", "vision_encoder.pos_embed"],
  ["toHf", "vision_encoder.layers.0.attn.wk.bias"],
  ["toHf", "vision_encoder.layers.1.norm2.weight"],
  ["toHf", "vision_encoder.projector.linear_1.weight"],
] as const;

describe("the ledger", () => {
  const sideOf = (direction: "toHf" | "fromHf") => (direction === "toHf" ? "native" : "hf");

  test.each(ledger)("%s: without %s, with another, with another name, and with another shape", (direction, key) => {
    const table = tableOf();
    const tensors = tensorsOf(table, sideOf(direction));
    const plan = (edit: (tensors: Tensors) => void) => refusal(() => table.plan(direction, edited(tensors, edit)));
    const tensor = tensors.get(key)!;
    const { shape } = tensor;
    expect(plan((all) => all.delete(key))).toContain(`MISSING_TENSOR: "${key}"`);
    expect(plan((all) => all.set(`${key}_more`, tensor))).toContain(`UNKNOWN_TENSOR: no rule for "${key}_more"`);
    expect(plan((all) => all.delete(key) && all.set(`${key}_more`, tensor))).toContain(`MISSING_TENSOR: "${key}"`);
    expect(plan((all) => all.set(key, { dtype: "F32", shape: shape.with(0, shape[0]! - 1) }))).toContain(
      `SHAPE_MISMATCH: "${key}": expected`,
    );
  });

  test("one expert too many or too few is refused", () => {
    const table = tableOf();
    const expert = "language_model.model.layers.1.mlp.experts.12.up_proj.weight";
    const more = edited(tensorsOf(table, "hf"), (all) => all.set(expert, { dtype: "F32", shape: [3, 12] }));
    expect(refusal(() => table.plan("fromHf", more))).toContain(`UNKNOWN_TENSOR: no rule for "${expert}"`);
    const stack = "layers.1.moe.routed_experts.inner_experts.w1_EFD";
    const fewer = edited(tensorsOf(table, "native"), (all) => all.set(stack, { dtype: "F32", shape: [11, 3, 12] }));
    expect(refusal(() => table.plan("toHf", fewer))).toContain(`SHAPE_MISMATCH: "${stack}": expected [12,3,12]`);
  });

  test.each([
    ["fromHf", "language_model.lm_head.weight", "language_model.model.embed_tokens.weight"],
    ["toHf", "lm_head.weight", "tok_embeddings.weight"],
  ] as const)("%s: a tied head has to be the embedding", (direction, alias, of) => {
    const table = tableOf({ tie_word_embeddings: true });
    const tensors = tensorsOf(table, sideOf(direction), ["required", "alias"]);
    expect(table.plan(direction, tensors).equalities).toEqual([{ alias, of, reason: "tied embeddings" }]);
  });

  test.each([
    ["fromHf", /^(vision_tower|mm_projector)\./],
    ["toHf", /^vision_encoder\./],
  ] as const)("%s: a file without the vision tower is told so, and is still recognised", (direction, ofTower) => {
    const table = tableOf();
    const side = sideOf(direction);
    const textOnly = edited(tensorsOf(table, side), (all) => {
      for (const key of [...all.keys()]) if (ofTower.test(key)) all.delete(key);
    });
    expect(refusal(() => table.plan(direction, textOnly))).toMatch(
      /^MISSING_TOWER: the vision tower is absent as a whole/,
    );
    expect(detected(adapters, textOnly, configOf()).layout).toBe(side === "hf" ? "hf" : "torchtitan");
  });

  test("experts packed into int4 are named", () => {
    const table = tableOf();
    const expert = "language_model.model.layers.1.mlp.experts.0.gate_proj.weight";
    const packed = edited(tensorsOf(table, "hf"), (all) => {
      all.delete(expert);
      all.set(`${expert}_packed`, { dtype: "I32", shape: [3, 2] });
      all.set(`${expert}_scale`, { dtype: "BF16", shape: [3, 1] });
    });
    expect(refusal(() => table.plan("fromHf", packed))).toContain(`MISSING_TENSOR: "${expert}"`);
  });
});
