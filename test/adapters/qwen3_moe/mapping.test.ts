import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { qwen3Moe } from "../../../adapters/qwen3_moe/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { compiledTable, nativeNames } from "../../helpers/layouts.ts";
import { edited, type Tensors, tensorsOf } from "../headers.ts";
import { refusal } from "../refuse.ts";

const json = {
  model_type: "qwen3_moe",
  vocab_size: 7,
  hidden_size: 10,
  intermediate_size: 5,
  moe_intermediate_size: 3,
  num_hidden_layers: 3,
  mlp_only_layers: [0],
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 6,
  num_experts: 12,
};

function tableOf(layout: string, fields: Record<string, unknown> = {}) {
  const family = qwen3Moe.open({ ...json, ...fields }, "config.json");
  return compiledTable(family, layout);
}

/** Layouts whose files need no load-balancing bias, so that none is made: vLLM has none, Megatron-Core's is an option. */
const WITHOUT_BIAS = ["vllm", "megatron"];

describe.each(nativeNames(qwen3Moe))("%s", (layout) => {
  test.each([{}, { tie_word_embeddings: true }, { attention_bias: true }, { decoder_sparse_step: 2 }])(
    "with %o: what one direction makes, the other takes",
    (fields) => {
      const table = tableOf(layout, fields);
      const hf = tensorsOf(table, "hf");
      const native = table.plan("fromHf", hf).moves;
      const back = table.plan("toHf", new Map(native.map(({ key, shape }) => [key, { dtype: "F32" as const, shape }])));
      expect(new Set(back.dropped.map(({ equals }) => equals))).toEqual(
        new Set(WITHOUT_BIAS.includes(layout) ? [] : [0]),
      );
      expect(new Map(back.moves.map(({ key, shape }) => [key, shape]))).toEqual(
        new Map([...hf].map(([key, { shape }]) => [key, shape])),
      );
    },
  );
});

const debugModel = (layout: string) =>
  tableOf(layout, {
    vocab_size: 2048,
    hidden_size: 256,
    moe_intermediate_size: 768,
    mlp_only_layers: [],
    num_attention_heads: 16,
    num_key_value_heads: 8,
    head_dim: 128,
    num_experts: 64,
  });

/** Native tensors by kind, as the histories list them. */
const keysAndShapes = (table: ReturnType<typeof tableOf>) =>
  Object.fromEntries(
    [...tensorsOf(table, "native", ["required", "dropped"])].map(([key, { shape }]) => [
      key.replace(/^layers\.\d+/, "layers.{}"),
      [shape],
    ]),
  );

// Upstream's own revisions, by the debug model's keys and shapes.
test.each([
  ["torchtitan", "torchtitan"],
  ["torchtitan-2026-05", "torchtitan-2026-05-27"],
  ["torchtitan-2026-04-27", "torchtitan-2026-04-27"],
  ["torchtitan-2026-04-16", "torchtitan-2026-04-16"],
])("%s has the keys and shapes of upstream's history", (layout, file) => {
  const history = JSON.parse(readFileSync(`${FIXTURES}layouts/${file}.json`, "utf8")).qwen3.debugmodel_moe;
  expect(keysAndShapes(debugModel(layout))).toEqual(history);
});

test("torchtitan-2026-05-fused is that revision with the attention of its fused dense model", () => {
  const { debugmodel_moe: split, debugmodel_fused_qkv: dense } = JSON.parse(
    readFileSync(`${FIXTURES}layouts/torchtitan-2026-05-27-fused.json`, "utf8"),
  ).qwen3;
  const isQkv = (key: string) => key.includes(".attention.qkv_linear.");
  const history = [
    ...Object.entries(split).filter(([key]) => !isQkv(key)),
    ...Object.entries(dense).filter(([key]) => isQkv(key)),
  ];
  expect(history.filter(([key]) => isQkv(key))).toHaveLength(1);
  expect(keysAndShapes(debugModel("torchtitan-2026-05-fused"))).toEqual(Object.fromEntries(history));
});

const experts = "layers.1.moe.routed_experts.inner_experts";

describe("the ledger", () => {
  const table = tableOf("torchtitan");
  test.each([
    ["fromHf", "hf", "model.layers.1.mlp.experts.11.gate_proj.weight"],
    ["fromHf", "hf", "model.layers.2.mlp.experts.2.down_proj.weight"],
    ["fromHf", "hf", "model.layers.0.mlp.up_proj.weight"],
    ["fromHf", "hf", "model.layers.0.self_attn.q_norm.weight"],
    ["toHf", "native", `${experts}.w1_EFD`],
    ["toHf", "native", `${experts}.w2_EDF`],
    ["toHf", "native", "layers.2.moe.router.gate.weight"],
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

test("experts are stacked by number, not by the order of their names", () => {
  const table = tableOf("torchtitan");
  const moves = table.plan("fromHf", tensorsOf(table, "hf")).moves;
  const move = moves.find(({ key }) => key === `${experts}.w1_EFD`);
  expect(move?.shape).toEqual([12, 3, 10]);
  const at = new Map(move?.pieces.map(({ source, targetOffset }) => [source, targetOffset]));
  for (let e = 0; e < 12; e++) expect(at.get(`model.layers.1.mlp.experts.${e}.gate_proj.weight`)).toBe(e * 30);
});
