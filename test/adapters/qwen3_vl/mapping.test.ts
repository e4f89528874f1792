import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { qwen3Vl, qwen3VlMoe } from "../../../adapters/qwen3_vl/index.ts";
import { adapters } from "../../../adapters/registry.ts";
import type { Adapter } from "../../../src/family/adapter.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { compiledTable, detected, nativeNames } from "../../helpers/layouts.ts";
import { edited, type Tensors, tensorsOf } from "../headers.ts";
import { refusal } from "../refuse.ts";

type Fields = Record<string, unknown>;

const text = {
  vocab_size: 7,
  hidden_size: 10,
  intermediate_size: 5,
  moe_intermediate_size: 3,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 6,
  num_experts: 12,
};
const vision = {
  depth: 2,
  hidden_size: 6,
  intermediate_size: 8,
  num_heads: 2,
  patch_size: 2,
  out_hidden_size: 10,
  num_position_embeddings: 4,
  deepstack_visual_indexes: [1],
};

const configOf = (adapter: Adapter, top: Fields = {}, inText: Fields = {}, inVision: Fields = {}) => ({
  model_type: adapter.family,
  ...top,
  text_config: { ...text, ...inText },
  vision_config: { ...vision, ...inVision },
});

function tableOf(adapter: Adapter, layout: string, top: Fields = {}, inText: Fields = {}, inVision: Fields = {}) {
  const family = adapter.open(configOf(adapter, top, inText, inVision), "config.json");
  return compiledTable(family, layout);
}

const both = [qwen3Vl, qwen3VlMoe];
const tables = both.flatMap((adapter) => nativeNames(adapter).map((layout) => ({ adapter, layout })));

describe.each(tables)("$adapter.family $layout", ({ adapter, layout }) => {
  test.each<[Fields, Fields, Fields]>([
    [{}, {}, {}],
    [{ tie_word_embeddings: true }, { attention_bias: true }, {}],
    [{}, { mlp_only_layers: [0, 2] }, { deepstack_visual_indexes: [] }],
    [{}, { moe_intermediate_size: 5, hidden_size: 10 }, { deepstack_visual_indexes: [0, 1] }],
  ])("with %o, %o, %o: what one direction makes, the other takes", (top, inText, inVision) => {
    const table = tableOf(adapter, layout, top, inText, inVision);
    const hf = tensorsOf(table, "hf");
    const native = table.plan("fromHf", hf).moves;
    const back = table.plan("toHf", new Map(native.map(({ key, shape }) => [key, { dtype: "F32" as const, shape }])));
    expect(back.dropped.every(({ equals }) => equals === 0)).toBe(true);
    expect(new Map(back.moves.map(({ key, shape }) => [key, shape]))).toEqual(
      new Map([...hf].map(([key, { shape }]) => [key, shape])),
    );
  });

  test("is recognised, with its config and without", () => {
    const table = tableOf(adapter, layout);
    const native = tensorsOf(table, "native");
    expect(detected(adapters, native, configOf(adapter))).toEqual({ adapter, layout });
    expect(detected(adapters, native, null)).toEqual({ adapter, layout });
    expect(detected(adapters, tensorsOf(table, "hf"), null)).toEqual({ adapter, layout: "hf" });
  });
});

// Upstream's own revisions, by the debug models' keys and shapes.
test.each([
  { adapter: qwen3Vl, layout: "torchtitan", file: "torchtitan-2026-04-27" },
  { adapter: qwen3Vl, layout: "torchtitan-2026-04-16", file: "torchtitan-2026-04-16" },
  { adapter: qwen3Vl, layout: "torchtitan-2026-04-11", file: "torchtitan-2026-04-11" },
  { adapter: qwen3VlMoe, layout: "torchtitan-2026-04-27", file: "torchtitan-2026-04-27", experts: 8 },
  { adapter: qwen3VlMoe, layout: "torchtitan-2026-04-16", file: "torchtitan-2026-04-16", experts: 8 },
  { adapter: qwen3VlMoe, layout: "torchtitan-2026-04-11", file: "torchtitan-2026-04-11", experts: 64 },
])("$adapter.family $layout has the keys and shapes of upstream's history", ({ adapter, layout, file, experts }) => {
  const flavour = experts === undefined ? "debugmodel" : "debugmodel_moe";
  const history = JSON.parse(readFileSync(`${FIXTURES}layouts/${file}.json`, "utf8")).qwen3_vl[flavour];
  const sizes = { vocab_size: 151936, hidden_size: 256, intermediate_size: 512, moe_intermediate_size: 768 };
  const heads = { num_attention_heads: 4, num_key_value_heads: 2, head_dim: 64, num_experts: experts };
  const tower = { hidden_size: 256, intermediate_size: 512, patch_size: 16, out_hidden_size: 256 };
  const table = tableOf(adapter, layout, {}, { ...sizes, ...heads }, { ...tower, num_position_embeddings: 1024 });
  const ours = [...tensorsOf(table, "native", ["required", "dropped"])].map(([key, { shape }]) => [
    key.replace(/\.\d+\./, ".{}."),
    [shape],
  ]);
  expect(Object.fromEntries(ours)).toEqual(history);
});

test("the layouts differ from one another where upstream's revisions do", () => {
  const keys = (layout: string) => [
    ...tensorsOf(tableOf(qwen3VlMoe, layout), "native", ["required", "dropped"]).keys(),
  ];
  const own = (layout: string, other: string) => keys(layout).filter((key) => !keys(other).includes(key));
  const layer = "layers.0.";
  const ofLayer = (all: readonly string[]) =>
    all.filter((key) => key.startsWith(layer)).map((key) => key.slice(layer.length));
  const qkv = ["wq", "wk", "wv"];
  expect(ofLayer(own("torchtitan-fused", "torchtitan"))).toEqual(["attention.qkv_linear.wqkv.weight"]);
  expect(ofLayer(own("torchtitan-2026-04-27", "torchtitan")).sort()).toEqual(
    ["moe.expert_bias", ...["w1", "w2", "w3"].map((name) => `moe.experts.${name}`)].sort(),
  );
  expect(own("torchtitan-2026-04-16", "torchtitan-2026-04-27")).toEqual(["output.weight"]);
  expect(ofLayer(own("torchtitan-2026-04-11", "torchtitan-2026-04-16"))).toEqual(
    qkv.map((name) => `attention.${name}.weight`),
  );
});

/** Tensors of each part of the model: text, experts, tower, mergers. */
const ledger = [
  { adapter: qwen3Vl, direction: "fromHf", key: "model.language_model.embed_tokens.weight" },
  { adapter: qwen3Vl, direction: "fromHf", key: "model.language_model.layers.2.mlp.up_proj.weight" },
  { adapter: qwen3Vl, direction: "fromHf", key: "lm_head.weight" },
  { adapter: qwen3Vl, direction: "fromHf", key: "model.visual.patch_embed.proj.weight" },
  { adapter: qwen3Vl, direction: "fromHf", key: "model.visual.pos_embed.weight" },
  { adapter: qwen3Vl, direction: "fromHf", key: "model.visual.blocks.1.attn.qkv.bias" },
  { adapter: qwen3Vl, direction: "fromHf", key: "model.visual.merger.norm.weight" },
  { adapter: qwen3Vl, direction: "fromHf", key: "model.visual.deepstack_merger_list.0.linear_fc1.weight" },
  { adapter: qwen3VlMoe, direction: "fromHf", key: "model.language_model.layers.1.mlp.experts.gate_up_proj" },
  { adapter: qwen3VlMoe, direction: "fromHf", key: "model.language_model.layers.0.mlp.experts.down_proj" },
  { adapter: qwen3VlMoe, direction: "fromHf", key: "model.language_model.layers.2.mlp.gate.weight" },
  { adapter: qwen3VlMoe, direction: "fromHf", key: "model.visual.blocks.0.mlp.linear_fc2.weight" },
  { adapter: qwen3Vl, direction: "toHf", key: "layers.1.feed_forward.w2.weight" },
  { adapter: qwen3Vl, direction: "toHf", key: "layers.0.attention.q_norm.weight" },
  { adapter: qwen3Vl, direction: "toHf", key: "vision_encoder.pos_embed" },
  { adapter: qwen3Vl, direction: "toHf", key: "vision_encoder.patch_embed.proj.weight" },
  { adapter: qwen3Vl, direction: "toHf", key: "vision_encoder.layers.0.norm2.bias" },
  { adapter: qwen3Vl, direction: "toHf", key: "vision_encoder.deepstack_merger_list.0.norm.bias" },
  { adapter: qwen3VlMoe, direction: "toHf", key: "layers.1.moe.experts.w1_EFD" },
  { adapter: qwen3VlMoe, direction: "toHf", key: "layers.1.moe.experts.w2_EDF" },
  { adapter: qwen3VlMoe, direction: "toHf", key: "layers.2.moe.router.gate.weight" },
  { adapter: qwen3VlMoe, direction: "toHf", key: "vision_encoder.merger.linear_fc2.weight" },
] as const;

describe("the ledger", () => {
  test.each(ledger)(
    "$adapter.family $direction: without $key, with another, with another name, and with another shape",
    ({ adapter, direction, key }) => {
      const table = tableOf(adapter, "torchtitan");
      const tensors = tensorsOf(table, direction === "toHf" ? "native" : "hf");
      const plan = (edit: (tensors: Tensors) => void) => refusal(() => table.plan(direction, edited(tensors, edit)));
      const tensor = tensors.get(key)!;
      const { shape } = tensor;
      expect(plan((all) => all.delete(key))).toContain(`MISSING_TENSOR: "${key}"`);
      expect(plan((all) => all.set(`${key}_more`, tensor))).toContain(`UNKNOWN_TENSOR: no rule for "${key}_more"`);
      expect(plan((all) => all.delete(key) && all.set(`${key}_more`, tensor))).toContain(`MISSING_TENSOR: "${key}"`);
      expect(plan((all) => all.set(key, { dtype: "F32", shape: shape.with(0, shape[0]! - 1) }))).toContain(
        `SHAPE_MISMATCH: "${key}": expected`,
      );
    },
  );

  test.each([
    ["fromHf", "lm_head.weight", "model.language_model.embed_tokens.weight"],
    ["toHf", "lm_head.weight", "tok_embeddings.weight"],
  ] as const)("%s: a tied head has to be the embedding", (direction, alias, of) => {
    const table = tableOf(qwen3Vl, "torchtitan", { tie_word_embeddings: true });
    const tensors = tensorsOf(table, direction === "toHf" ? "native" : "hf", ["required", "alias"]);
    expect(table.plan(direction, tensors).equalities).toEqual([{ alias, of, reason: "tied embeddings" }]);
  });

  test.each([
    ["fromHf", "hf", "model.visual."],
    ["toHf", "native", "vision_encoder."],
  ] as const)("%s: a file without the vision tower is told so, and is still recognised", (direction, side, prefix) => {
    const table = tableOf(qwen3VlMoe, "torchtitan");
    const textOnly = edited(tensorsOf(table, side), (all) => {
      for (const key of [...all.keys()]) if (key.startsWith(prefix)) all.delete(key);
    });
    expect(refusal(() => table.plan(direction, textOnly))).toMatch(
      /^MISSING_TOWER: the vision tower is absent as a whole: 39 tensors, from "(model\.visual|vision_encoder)\.patch_embed/,
    );
    const found = detected(adapters, textOnly, configOf(qwen3VlMoe));
    expect(found.layout).toBe(side === "hf" ? "hf" : "torchtitan");
  });
});

const experts = "model.language_model.layers.1.mlp.experts";
const saved = { gate_up_proj: [12, 6, 10], down_proj: [12, 10, 3] };

describe("experts as transformers 5 saves them", () => {
  const reordered = (tensors: Tensors, layers: readonly number[], shapes: typeof saved) =>
    edited(tensors, (all) => {
      for (const layer of layers)
        for (const [name, shape] of Object.entries(shapes))
          all.set(`model.language_model.layers.${layer}.mlp.experts.${name}`, { dtype: "F32", shape });
    });

  test("are told by their shapes", () => {
    const table = tableOf(qwen3VlMoe, "torchtitan");
    const hf = tensorsOf(table, "hf");
    expect(hf.get(`${experts}.gate_up_proj`)?.shape).toEqual([12, 10, 6]);
    expect(table.plan("fromHf", hf).order).toBe(null);
    expect(table.plan("fromHf", reordered(hf, [0, 1, 2], saved)).order).toBe("transformers-5");
  });

  // Where 2f = d, gate_up_proj has the same shape in both orders; where f = d, down_proj has.
  test.each([
    [5, { gate_up_proj: [12, 10, 10], down_proj: [12, 10, 5] }, `${experts}.gate_up_proj`],
    [10, { gate_up_proj: [12, 20, 10], down_proj: [12, 10, 10] }, `${experts}.down_proj`],
  ])("and where one kind does not tell, the other does (f = %i)", (f, shapes, silent) => {
    const table = tableOf(qwen3VlMoe, "torchtitan", {}, { moe_intermediate_size: f });
    const hf = tensorsOf(table, "hf");
    const turned = reordered(hf, [0, 1, 2], shapes);
    expect(turned.get(silent)).toEqual(hf.get(silent));
    expect(table.plan("fromHf", hf).order).toBe(null);
    expect(table.plan("fromHf", turned).order).toBe("transformers-5");
    const [usual, other] = [hf, turned].map((source) =>
      table.plan("fromHf", source).moves.filter((move) => move.pieces.some((piece) => piece.source === silent)),
    );
    expect(other!.map((move) => move.key)).toEqual(usual!.map((move) => move.key));
    expect(other!.map((move) => move.pieces)).not.toEqual(usual!.map((move) => move.pieces));
  });

  test("in some layers only are refused, naming them", () => {
    const table = tableOf(qwen3VlMoe, "torchtitan");
    expect(refusal(() => table.plan("fromHf", reordered(tensorsOf(table, "hf"), [1], saved)))).toBe(
      `SHAPE_MISMATCH: "${experts}.gate_up_proj": expected [12,10,6] = [e, d, (gate: g | up: g)], got [12,6,10]; and 1 more: "${experts}.down_proj"`,
    );
  });

  test("one expert too few is refused", () => {
    const table = tableOf(qwen3VlMoe, "torchtitan");
    const hf = edited(tensorsOf(table, "hf"), (all) =>
      all.set(`${experts}.down_proj`, { dtype: "F32", shape: [11, 3, 10] }),
    );
    expect(refusal(() => table.plan("fromHf", hf))).toContain(`"${experts}.down_proj": expected [12,3,10]`);
    const native = edited(tensorsOf(table, "native"), (all) =>
      all.set("layers.1.moe.experts.w3_EFD", { dtype: "F32", shape: [11, 3, 10] }),
    );
    expect(refusal(() => table.plan("toHf", native))).toContain('"layers.1.moe.experts.w3_EFD": expected [12,3,10]');
  });
});
