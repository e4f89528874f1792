import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { gptOss } from "../../../adapters/gpt_oss/index.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { compiledTable, nativeNames } from "../../helpers/layouts.ts";
import { edited, type Tensors, tensorsOf } from "../headers.ts";
import { refusal } from "../refuse.ts";

const json = {
  model_type: "gpt_oss",
  vocab_size: 7,
  hidden_size: 10,
  intermediate_size: 3,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 6,
  num_local_experts: 12,
};

function tableOf(layout: string, fields: Record<string, unknown> = {}) {
  const family = gptOss.open({ ...json, ...fields }, "config.json");
  return compiledTable(family, layout);
}

describe.each(nativeNames(gptOss))("%s", (layout) => {
  test.each([{}, { tie_word_embeddings: true }])("with %o: what one direction makes, the other takes", (fields) => {
    const table = tableOf(layout, fields);
    const hf = tensorsOf(table, "hf");
    const native = table.plan("fromHf", hf).moves;
    const back = table.plan("toHf", new Map(native.map(({ key, shape }) => [key, { dtype: "F32" as const, shape }])));
    // A bias for load balancing is an option of Megatron-Core's: none is made.
    expect(back.dropped.map(({ equals }) => equals)).toEqual(layout === "megatron" ? [] : [0, 0]);
    expect(new Map(back.moves.map(({ key, shape }) => [key, shape]))).toEqual(
      new Map([...hf].map(([key, { shape }]) => [key, shape])),
    );
  });
});

// Upstream's own revisions, by the debug model's keys and shapes.
test.each([
  ["torchtitan", "torchtitan"],
  ["torchtitan-2026-05", "torchtitan-2026-05-27"],
  ["torchtitan-2026-04-27", "torchtitan-2026-04-27"],
  ["torchtitan-2026-04-16", "torchtitan-2026-04-16"],
])("%s has the keys and shapes of upstream's history", (layout, file) => {
  const history = JSON.parse(readFileSync(`${FIXTURES}layouts/${file}.json`, "utf8")).gpt_oss.debugmodel;
  const table = tableOf(layout, {
    vocab_size: 2048,
    hidden_size: 256,
    intermediate_size: 2880,
    num_attention_heads: 64,
    num_key_value_heads: 8,
    head_dim: 64,
    num_local_experts: 8,
  });
  const ours = [...tensorsOf(table, "native", ["required", "dropped"])].map(([key, { shape }]) => [
    key.replace(/\d+/, "{}").replace("mlp{}", "mlp1"),
    [shape],
  ]);
  expect(Object.fromEntries(ours)).toEqual(history);
});

const experts = "layers.1.moe.routed_experts.inner_experts";

describe("the ledger", () => {
  const table = tableOf("torchtitan");
  test.each([
    ["fromHf", "hf", "model.layers.1.mlp.experts.gate_up_proj"],
    ["fromHf", "hf", "model.layers.1.mlp.experts.down_proj_bias"],
    ["fromHf", "hf", "model.layers.0.self_attn.sinks"],
    ["toHf", "native", `${experts}.mlp1_weight_EGD`],
    ["toHf", "native", `${experts}.mlp2_bias_ED`],
    ["toHf", "native", "layers.0.moe.router.gate.bias"],
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

test("experts lie transposed", () => {
  const table = tableOf("torchtitan");
  const moves = table.plan("fromHf", tensorsOf(table, "hf")).moves;
  const move = moves.find(({ key }) => key === `${experts}.mlp2_weight_EDF`);
  expect(move?.shape).toEqual([12, 10, 3]);
  expect(move?.pieces[0]?.source).toBe("model.layers.1.mlp.experts.down_proj");
});
