import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { qwen3Next } from "../../../adapters/qwen3_next/index.ts";
import { converted } from "../../helpers/converted.ts";
import { FIXTURES, fixture } from "../../helpers/fixtures.ts";
import { compiledTable, nativeNames } from "../../helpers/layouts.ts";
import { scratch } from "../../helpers/scratch.ts";
import { edited, type Tensors, tensorsOf } from "../headers.ts";
import { refusal } from "../refuse.ts";

const json = {
  model_type: "qwen3_next",
  vocab_size: 7,
  hidden_size: 10,
  intermediate_size: 5,
  moe_intermediate_size: 3,
  shared_expert_intermediate_size: 4,
  num_hidden_layers: 3,
  layer_types: ["linear_attention", "full_attention", "linear_attention"],
  mlp_only_layers: [2],
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 6,
  partial_rotary_factor: 0.67,
  linear_num_key_heads: 2,
  linear_num_value_heads: 4,
  linear_key_head_dim: 3,
  linear_value_head_dim: 5,
  num_experts: 12,
  num_experts_per_tok: 2,
};

/** With the head that predicts a second token. */
const ALL = ["required", "optional"];

const tableOf = (layout: string, fields: Record<string, unknown> = {}) =>
  compiledTable(qwen3Next.open({ ...json, ...fields }, "config.json"), layout);
const shapesOf = (moves: readonly { readonly key: string; readonly shape: readonly number[] }[]) =>
  new Map(moves.map(({ key, shape }) => [key, { dtype: "F32" as const, shape }]));

describe.each(nativeNames(qwen3Next))("%s", (layout) => {
  test.each([
    {},
    { tie_word_embeddings: true, mlp_only_layers: [] },
    { layer_types: undefined, full_attention_interval: 1 },
    { layer_types: undefined, full_attention_interval: 4, decoder_sparse_step: 4 },
  ])("with %o: what one direction makes, the other takes", (fields) => {
    const table = tableOf(layout, fields);
    const hf = tensorsOf(table, "hf");
    const back = table.plan("toHf", shapesOf(table.plan("fromHf", hf).moves));
    expect(shapesOf(back.moves)).toEqual(new Map([...hf].map(([key, { shape }]) => [key, { dtype: "F32", shape }])));
  });
});

describe("the ledger", () => {
  const table = tableOf("megatron");
  const net = "decoder.layers.2.self_attention";
  test.each([
    ["fromHf", "hf", "model.layers.0.linear_attn.in_proj_qkvz.weight"],
    ["fromHf", "hf", "model.layers.2.linear_attn.norm.weight"],
    ["fromHf", "hf", "model.layers.1.self_attn.q_proj.weight"],
    ["fromHf", "hf", "model.layers.1.mlp.experts.11.down_proj.weight"],
    ["fromHf", "hf", "model.layers.0.mlp.shared_expert_gate.weight"],
    ["fromHf", "hf", "mtp.layers.0.self_attn.q_proj.weight"],
    ["toHf", "native", `${net}.in_proj.weight.beta`],
    ["toHf", "native", `${net}.conv1d.weight.value`],
    ["toHf", "native", `${net}.out_norm.weight`],
    ["toHf", "native", "decoder.layers.1.self_attention.linear_qkv.weight"],
    ["toHf", "native", "decoder.layers.1.mlp.experts.experts.linear_fc1.weight"],
    ["toHf", "native", "mtp.layers.0.eh_proj.weight"],
  ] as const)("%s: %s without %s, with another, and with another shape", (direction, side, key) => {
    const tensors = tensorsOf(table, side, ALL);
    const plan = (edit: (tensors: Tensors) => void) => refusal(() => table.plan(direction, edited(tensors, edit)));
    const { shape } = tensors.get(key)!;
    expect(plan((all) => all.delete(key))).toContain(`"${key}"`);
    expect(plan((all) => all.set(`${key}_more`, all.get(key)!))).toContain(`no rule for "${key}_more"`);
    expect(plan((all) => all.set(key, { dtype: "F32", shape: shape.with(0, shape[0]! - 1) }))).toContain(
      `"${key}": expected`,
    );
  });

  test("a head that predicts a second token is absent as a whole, or under the name of Megatron-Core 0.19", () => {
    const ofMtp = (key: string) => key.startsWith("mtp.");
    const without = (tensors: Tensors) => {
      for (const key of [...tensors.keys()]) if (ofMtp(key)) tensors.delete(key);
    };
    expect(
      table.plan("fromHf", edited(tensorsOf(table, "hf", ALL), without)).moves.map(({ key }) => key),
    ).not.toContain("mtp.layers.0.eh_proj.weight");
    const later = (tensors: Tensors) => {
      for (const [key, tensor] of [...tensors]) {
        tensors.delete(key);
        tensors.set(key.replace("transformer_layer", "mtp_model_layer"), tensor);
      }
    };
    const plan = table.plan("toHf", edited(tensorsOf(table, "native", ALL), later));
    expect(plan.moves.filter(({ key }) => ofMtp(key)).length).toBe(17 + 3 * 12);
    const vllm = tableOf("vllm");
    const hf = edited(tensorsOf(vllm, "hf"), (all) => all.set("mtp.fc.weight", { dtype: "F32", shape: [10, 20] }));
    expect(refusal(() => vllm.plan("fromHf", hf))).toContain("belongs to the head that predicts a second token");
  });
});

test("rows of a key head lie together in q_proj and in_proj_qkvz, and apart in Megatron's tensors", () => {
  const { moves } = tableOf("megatron").plan("fromHf", tensorsOf(tableOf("megatron"), "hf"));
  const piecesOf = (key: string) =>
    moves
      .find((move) => move.key === key)!
      .pieces.map(({ source, sourceOffset, targetOffset }) => [source.split(".")[4], sourceOffset, targetOffset]);
  // 10 columns; rows of a head: 6 of its query, 6 of its gate; a group: 2 queries, 2 gates, a key, a value.
  expect(piecesOf("decoder.layers.1.self_attention.linear_qkv.weight")).toEqual([
    ["q_proj", 0, 0],
    ["q_proj", 60, 120],
    ["k_proj", 0, 240],
    ["v_proj", 0, 300],
  ]);
  // Rows of a key head: query 3, key 3, two values of 5, their gates.
  const parts = ["query", "key", "value", "z"].map((name) =>
    piecesOf(`decoder.layers.0.self_attention.in_proj.weight.${name}`),
  );
  expect(parts).toEqual([0, 30, 60, 160].map((offset) => [["in_proj_qkvz", offset, 0]]));
});

test("Megatron's norm behind the delta rule lies around 0: 1 is added on the way out, and taken away on the way in", () => {
  const table = tableOf("megatron");
  const [native, hf] = ["decoder.layers.0.self_attention.out_norm.weight", "model.layers.0.linear_attn.norm.weight"];
  const toHf = table.plan("toHf", tensorsOf(table, "native")).plus;
  expect([...toHf]).toEqual([
    [native, 1],
    [native.replace("0", "2"), 1],
  ]);
  expect(table.plan("fromHf", tensorsOf(table, "hf")).plus.get(hf)).toBe(-1);
  expect(tableOf("vllm").plan("fromHf", tensorsOf(tableOf("vllm"), "hf", ["required"])).plus.size).toBe(0);
});

test("transformers 5 holds experts stacked", () => {
  const held = JSON.parse(readFileSync(`${FIXTURES}qwen3_next/tied/run_time.sha256.json`, "utf8"));
  const config = JSON.parse(readFileSync(`${FIXTURES}qwen3_next/tied/hf/config.json`, "utf8"));
  const table = compiledTable(qwen3Next.open(config, "config.json"), "megatron");
  const tensors = new Map(
    Object.entries<{ dtype: "F32"; shape: number[] }>(held).map(([key, { dtype, shape }]) => [key, { dtype, shape }]),
  );
  const plan = table.plan("fromHf", tensors);
  expect(plan.order).toBe("transformers-5");
});

test("a conversion tells what was added, and goes both ways to the same bytes", async () => {
  const { hf } = fixture("qwen3_next/tied");
  const [there, back] = [join(scratch(), "there"), join(scratch(), "back")];
  const told = (words: RegExp) => expect.arrayContaining([expect.stringMatching(words)]);
  expect((await converted(hf, there, { to: "megatron" })).notes).toEqual(
    told(/^1 is taken from each value of "model\.layers\.0\.linear_attn\.norm\.weight"/),
  );
  expect((await converted(there, back)).notes).toEqual(
    told(/^1 is added to each value of "decoder\.layers\.0\.self_attention\.out_norm\.weight"/),
  );
  expect(readFileSync(join(back, "model.safetensors"))).toEqual(readFileSync(join(hf, "model.safetensors")));
});
