import { describe, expect, test } from "vitest";
import { glm4Moe } from "../../../adapters/glm4_moe/index.ts";
import { compiledTable, nativeNames } from "../../helpers/layouts.ts";
import { edited, type Tensors, tensorsOf } from "../headers.ts";
import { refusal } from "../refuse.ts";

const json = {
  model_type: "glm4_moe",
  vocab_size: 7,
  hidden_size: 10,
  intermediate_size: 5,
  moe_intermediate_size: 3,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  n_routed_experts: 12,
  num_nextn_predict_layers: 1,
};

const tableOf = (layout: string, fields: Record<string, unknown> = {}) =>
  compiledTable(glm4Moe.open({ ...json, ...fields }, "config.json"), layout);

/** Of the Hub's files: with the layer that predicts further tokens, and its copies of embedding and head. */
const hubOf = (table: ReturnType<typeof tableOf>) => tensorsOf(table, "hf", ["required", "optional", "alias"]);

describe.each(nativeNames(glm4Moe))("%s", (layout) => {
  test.each([
    {},
    { tie_word_embeddings: true },
    { use_qk_norm: true, n_shared_experts: 2 },
    { first_k_dense_replace: 0 },
    { num_nextn_predict_layers: 0 },
  ])("with %o: what one direction makes, the other takes", (fields) => {
    const table = tableOf(layout, fields);
    const hf = tensorsOf(table, "hf");
    const native = table.plan("fromHf", hf).moves;
    const back = table.plan("toHf", new Map(native.map(({ key, shape }) => [key, { dtype: "F32" as const, shape }])));
    expect(new Map(back.moves.map(({ key, shape }) => [key, shape]))).toEqual(
      new Map([...hf].map(([key, { shape }]) => [key, shape])),
    );
  });
});

const mlp = "model.model.layers.2.mlp";

describe("the ledger", () => {
  const table = tableOf("torchtitan", { use_qk_norm: true });
  test.each([
    ["fromHf", "hf", "model.layers.1.mlp.experts.11.gate_proj.weight"],
    ["fromHf", "hf", "model.layers.2.mlp.shared_experts.down_proj.weight"],
    ["fromHf", "hf", "model.layers.2.mlp.gate.e_score_correction_bias"],
    ["fromHf", "hf", "model.layers.0.mlp.up_proj.weight"],
    ["fromHf", "hf", "model.layers.0.self_attn.q_norm.weight"],
    ["toHf", "native", `${mlp}.routed_experts.inner_experts.w1_EFD`],
    ["toHf", "native", `${mlp}.shared_experts.w2.weight`],
    ["toHf", "native", `${mlp}.expert_bias_E`],
  ] as const)("%s: %s without %s, with another, and with another shape", (direction, side, key) => {
    const tensors = tensorsOf(table, side);
    const plan = (edit: (tensors: Tensors) => void) => refusal(() => table.plan(direction, edited(tensors, edit)));
    const { shape } = tensors.get(key)!;
    expect(plan((all) => all.delete(key))).toContain(`"${key}"`);
    expect(plan((all) => all.set(`${key}_more`, all.get(key)!))).toContain(`no rule for "${key}_more"`);
    expect(plan((all) => all.set(key, { dtype: "F32", shape: shape.with(0, shape[0]! - 1) }))).toContain(
      `"${key}": expected`,
    );
  });
});

describe("what torchtitan's backend has no place for", () => {
  test("biases must be zero, and are zero on the way back", () => {
    const table = tableOf("torchtitan", { attention_bias: true });
    const hf = tensorsOf(table, "hf", ["required", "dropped"]);
    const { dropped } = table.plan("fromHf", hf);
    const biases = [0, 1, 2].flatMap((l) => ["q", "k", "v"].map((x) => `model.layers.${l}.self_attn.${x}_proj.bias`));
    expect(dropped.filter(({ equals }) => equals === 0).map(({ key }) => key)).toEqual(biases);
    const back = table.plan("toHf", tensorsOf(table, "native")).moves.filter(({ fill }) => fill?.value === 0);
    expect(back.map(({ key, shape }) => [key, shape]).slice(0, 2)).toEqual([
      [biases[0], [32]],
      [biases[1], [16]],
    ]);
  });

  test.each([1, 0])("layers that predict further tokens are refused by name (announced: %s)", (announced) => {
    const table = tableOf("torchtitan", { num_nextn_predict_layers: announced });
    const key = "model.layers.3.eh_proj.weight";
    const hf = edited(tensorsOf(table, "hf"), (all) => all.set(key, { dtype: "F32", shape: [10, 20] }));
    expect(refusal(() => table.plan("fromHf", hf))).toContain(`"${key}"`);
    expect(refusal(() => table.plan("fromHf", hf))).toContain("predicts further tokens");
  });
});

test("vllm: such a layer is one block under its number, its head and embedding those of the model", () => {
  const table = tableOf("vllm", { attention_bias: true, use_qk_norm: true });
  const hf = hubOf(table);
  expect([...hf.keys()].filter((key) => key.startsWith("model.layers.3.")).length).toBeGreaterThan(50);
  const { moves, equalities } = table.plan("fromHf", hf);
  const own = moves.map(({ key }) => key).filter((key) => key.startsWith("model.layers.3."));
  expect(own).toContain("model.layers.3.mtp_block.self_attn.qkv_proj.bias");
  expect(own).toContain("model.layers.3.mtp_block.mlp.experts.w13_weight");
  expect(own).toContain("model.layers.3.shared_head.norm.weight");
  expect(equalities.map(({ alias, of }) => [alias, of])).toEqual([
    ["model.layers.3.embed_tokens.weight", "model.embed_tokens.weight"],
    ["model.layers.3.shared_head.head.weight", "lm_head.weight"],
  ]);
});
