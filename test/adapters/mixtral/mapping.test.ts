import { describe, expect, test } from "vitest";
import { mixtral } from "../../../adapters/mixtral/index.ts";
import { compiledTable, nativeNames } from "../../helpers/layouts.ts";
import { edited, type Tensors, tensorsOf } from "../headers.ts";
import { refusal } from "../refuse.ts";

const json = {
  model_type: "mixtral",
  vocab_size: 7,
  hidden_size: 10,
  intermediate_size: 3,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 6,
  num_local_experts: 12,
};

const tableOf = (layout: string, fields: Record<string, unknown> = {}) =>
  compiledTable(mixtral.open({ ...json, ...fields }, "config.json"), layout);

describe.each(nativeNames(mixtral))("%s", (layout) => {
  test.each([{}, { tie_word_embeddings: true }])("with %o: what one direction makes, the other takes", (fields) => {
    const table = tableOf(layout, fields);
    const hf = tensorsOf(table, "hf");
    const native = table.plan("fromHf", hf).moves;
    const back = table.plan("toHf", new Map(native.map(({ key, shape }) => [key, { dtype: "F32" as const, shape }])));
    expect(new Map(back.moves.map(({ key, shape }) => [key, shape]))).toEqual(
      new Map([...hf].map(([key, { shape }]) => [key, shape])),
    );
  });
});

const mlp = "model.model.layers.1.mlp";

describe("the ledger", () => {
  const table = tableOf("torchtitan");
  test.each([
    ["fromHf", "hf", "model.layers.1.block_sparse_moe.experts.11.w1.weight"],
    ["fromHf", "hf", "model.layers.0.block_sparse_moe.experts.2.w2.weight"],
    ["fromHf", "hf", "model.layers.0.block_sparse_moe.gate.weight"],
    ["fromHf", "hf", "model.layers.0.self_attn.q_proj.weight"],
    ["toHf", "native", `${mlp}.routed_experts.inner_experts.w1_EFD`],
    ["toHf", "native", `${mlp}.routed_experts.inner_experts.w2_EDF`],
    ["toHf", "native", `${mlp}.router.gate.weight`],
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

test("experts are stacked by number, w1 as gate and w3 as up", () => {
  const table = tableOf("vllm");
  const move = table
    .plan("fromHf", tensorsOf(table, "hf"))
    .moves.find(({ key }) => key === "model.layers.1.block_sparse_moe.experts.w13_weight");
  expect(move?.shape).toEqual([12, 6, 10]);
  const at = new Map(move?.pieces.map(({ source, targetOffset }) => [source, targetOffset]));
  const expert = (e: number, name: string) => `model.layers.1.block_sparse_moe.experts.${e}.${name}.weight`;
  for (let e = 0; e < 12; e++) {
    expect(at.get(expert(e, "w1"))).toBe(e * 60);
    expect(at.get(expert(e, "w3"))).toBe(e * 60 + 30);
  }
});

test("a load-balancing bias that is not zero has no place in HF", () => {
  const table = tableOf("torchtitan");
  const native = tensorsOf(table, "native", ["required", "dropped"]);
  const dropped = table.plan("toHf", native).dropped;
  expect(dropped.map(({ key, equals }) => [key, equals])).toEqual(
    [0, 1].map((l) => [`model.model.layers.${l}.mlp.expert_bias_E`, 0]),
  );
});
