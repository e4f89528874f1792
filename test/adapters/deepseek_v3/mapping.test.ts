import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { deepseekV3 } from "../../../adapters/deepseek_v3/index.ts";
import { openSafetensors } from "../../../src/formats/safetensors/open.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { compiledTable, detected, nativeNames } from "../../helpers/layouts.ts";
import { edited, tensorsOf as headersOf, type Tensors } from "../headers.ts";
import { refusal } from "../refuse.ts";

const json = {
  model_type: "deepseek_v3",
  vocab_size: 7,
  hidden_size: 12,
  intermediate_size: 5,
  moe_intermediate_size: 3,
  num_hidden_layers: 4,
  first_k_dense_replace: 2,
  num_attention_heads: 3,
  num_key_value_heads: 3,
  q_lora_rank: 6,
  kv_lora_rank: 8,
  qk_nope_head_dim: 10,
  qk_rope_head_dim: 4,
  v_head_dim: 9,
  n_routed_experts: 12,
  n_shared_experts: 2,
  n_group: 3,
  num_nextn_predict_layers: 2,
};

function tableOf(layout: string, fields: Record<string, unknown> = {}) {
  const family = deepseekV3.open({ ...json, ...fields }, "config.json");
  return compiledTable(family, layout);
}

const NEEDED = ["required", "optional"];
const tensorsOf = (table: ReturnType<typeof tableOf>, side: "native" | "hf", needs = NEEDED): Tensors =>
  headersOf(table, side, needs);

describe.each(nativeNames(deepseekV3))("%s", (layout) => {
  test.each([{}, { q_lora_rank: null }, { tie_word_embeddings: true }, { first_k_dense_replace: 0 }])(
    "with %o: what one direction makes, the other takes",
    (fields) => {
      const table = tableOf(layout, fields);
      const hf = tensorsOf(table, "hf");
      const native = table.plan("fromHf", hf).moves;
      const back = table.plan("toHf", new Map(native.map(({ key, shape }) => [key, { dtype: "F32" as const, shape }])));
      expect(new Map(back.moves.map(({ key, shape }) => [key, shape]))).toEqual(
        new Map([...hf].map(([key, { shape }]) => [key, shape])),
      );
    },
  );
});

// Upstream's own revisions, by the 671B model's keys and shapes.
test.each([
  ["torchtitan", "torchtitan"],
  ["torchtitan-2026-05", "torchtitan-2026-05-27"],
  ["torchtitan-2026-04", "torchtitan-2026-04-27"],
  ["torchtitan-0.2", "torchtitan-2026-04-16"],
])("%s has the keys and shapes of upstream's history", (layout, file) => {
  const history = JSON.parse(readFileSync(`${FIXTURES}layouts/${file}.json`, "utf8")).deepseek_v3["671B"];
  const family = deepseekV3.open({ model_type: "deepseek_v3", num_nextn_predict_layers: 0 }, "config.json");
  const table = compiledTable(family, layout);
  const ours = new Map(
    [...tensorsOf(table, "native")].map(([key, { shape }]) => [
      key.replace(/\d+/, "{}").replace(/^w\{\}/, "w"),
      [shape],
    ]),
  );
  expect(Object.fromEntries(ours)).toEqual(history);
});

describe("the ledger", () => {
  const table = tableOf("torchtitan");
  const expert = "model.layers.2.mlp.experts.10.up_proj.weight";
  const mtp = "model.layers.5.mlp.experts.11.down_proj.weight";
  const stacked = "layers.3.moe.routed_experts.inner_experts.w2_EDF";

  test.each([
    ["fromHf", "hf", expert],
    ["fromHf", "hf", mtp],
    ["fromHf", "hf", "model.layers.3.mlp.gate.e_score_correction_bias"],
    ["fromHf", "hf", "model.layers.4.shared_head.norm.weight"],
    ["toHf", "native", stacked],
    ["toHf", "native", "mtp_layers.1.eh_proj.weight"],
    ["toHf", "native", "layers.2.moe.expert_bias_E"],
  ] as const)("%s: %s without %s, with it renamed, and with another shape", (direction, side, key) => {
    const tensors = tensorsOf(table, side);
    const plan = (edit: (tensors: Tensors) => void) => refusal(() => table.plan(direction, edited(tensors, edit)));
    expect(() => table.plan(direction, tensors)).not.toThrow();
    expect(plan((all) => all.delete(key))).toMatch(new RegExp(`MISSING_TENSOR.*${key.replaceAll(".", "\\.")}`));
    expect(plan((all) => all.set(`${key}_more`, all.get(key)!))).toContain(`no rule for "${key}_more"`);
    expect(plan((all) => all.set(`${key}x`, all.get(key)!) && all.delete(key))).toContain(key);
    const { shape } = tensors.get(key)!;
    expect(plan((all) => all.set(key, { dtype: "F32", shape: [...shape, 1] }))).toContain(`"${key}": expected`);
  });

  test("MTP layers are there as a whole or not at all", () => {
    const without = edited(tensorsOf(table, "hf"), (all) => {
      for (const key of all.keys()) if (/layers\.[45]\./.test(key)) all.delete(key);
    });
    const { moves } = table.plan("fromHf", without);
    expect(moves.some(({ key }) => key.startsWith("mtp_layers"))).toBe(false);
    expect(moves.some(({ key }) => key === stacked)).toBe(true);
  });
});

test("the Hub's copies of embedding and head in an MTP layer must be copies, and its config numbers the layer", () => {
  const home = `${FIXTURES}deepseek_v3/mtp/hf-hub`;
  const config = JSON.parse(readFileSync(`${home}/config.json`, "utf8"));
  const checkpoint = openSafetensors(home);
  expect(detected([deepseekV3], checkpoint.tensors, config).layout).toBe("hf");
  const family = deepseekV3.open(config, home);
  const table = compiledTable(family, "torchtitan");
  const plan = table.plan("fromHf", checkpoint.tensors);
  expect(plan.equalities).toEqual([
    expect.objectContaining({ alias: "model.layers.2.embed_tokens.weight", of: "model.embed_tokens.weight" }),
    expect.objectContaining({ alias: "model.layers.2.shared_head.head.weight", of: "lm_head.weight" }),
  ]);
  expect(plan.moves.map(({ key }) => key)).toContain("mtp_layers.0.mtp_norm.weight");
  checkpoint.close();
});
