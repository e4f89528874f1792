import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { qwen35, qwen35Moe } from "../../../adapters/qwen3_5/index.ts";
import { adapters } from "../../../adapters/registry.ts";
import type { Adapter } from "../../../src/family/adapter.ts";
import type { Direction } from "../../../src/table/plan.ts";
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
  shared_expert_intermediate_size: 4,
  num_hidden_layers: 3,
  layer_types: ["linear_attention", "full_attention", "linear_attention"],
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 6,
  partial_rotary_factor: 0.67,
  linear_num_key_heads: 2,
  linear_num_value_heads: 4,
  linear_key_head_dim: 3,
  linear_value_head_dim: 5,
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
};

const configOf = (adapter: Adapter, top: Fields = {}, inText: Fields = {}, inVision: Fields = {}) => ({
  model_type: adapter.family,
  ...top,
  text_config: { ...text, ...inText },
  vision_config: { ...vision, ...inVision },
});
const aloneOf = (adapter: Adapter) => ({ model_type: `${adapter.family}_text`, ...text });

function tableAt(adapter: Adapter, layout: string, config: Fields) {
  const family = adapter.open(config, "config.json");
  return compiledTable(family, layout);
}
const tableOf = (adapter: Adapter, layout: string, ...fields: Fields[]) =>
  tableAt(adapter, layout, configOf(adapter, ...fields));

const sourceOf = (direction: Direction) => (direction === "toHf" ? "native" : "hf");
const both = [qwen35, qwen35Moe];
const tables = both.flatMap((adapter) => nativeNames(adapter).map((layout) => ({ adapter, layout })));

describe.each(tables)("$adapter.family $layout", ({ adapter, layout }) => {
  const returns = (config: Fields) => {
    const table = tableAt(adapter, layout, config);
    const hf = tensorsOf(table, "hf");
    const native = table.plan("fromHf", hf).moves;
    const back = table.plan("toHf", new Map(native.map(({ key, shape }) => [key, { dtype: "F32" as const, shape }])));
    expect(back.dropped.every(({ equals }) => equals === 0)).toBe(true);
    expect(new Map(back.moves.map(({ key, shape }) => [key, shape]))).toEqual(
      new Map([...hf].map(([key, { shape }]) => [key, shape])),
    );
  };

  test.each<[Fields, Fields]>([
    [{}, {}],
    [{ tie_word_embeddings: true }, { linear_conv_kernel_dim: 2 }],
    [{}, { layer_types: undefined, full_attention_interval: 1 }],
    [{}, { layer_types: undefined, full_attention_interval: 4 }],
  ])("with %o, %o: what one direction makes, the other takes", (top, inText) => {
    returns(configOf(adapter, top, inText));
  });

  test("and as text alone", () => returns(aloneOf(adapter)));

  test.each([
    ["whole", configOf(adapter)],
    ["text alone", aloneOf(adapter)],
  ])("is recognised, with its config and without: %s", (kind, config) => {
    const table = tableAt(adapter, layout, config);
    const native = tensorsOf(table, "native");
    expect(detected(adapters, native, config)).toEqual({ adapter, layout });
    const isTwin = adapter === qwen35Moe && layout === "megatron" && kind === "text alone";
    if (isTwin) expect(() => detected(adapters, native, null)).toThrow(/fit several layouts: .*qwen3_next megatron/);
    expect(detected(adapters, native, null, isTwin ? { family: adapter.family } : {})).toEqual({ adapter, layout });
    expect(detected(adapters, tensorsOf(table, "hf"), null)).toEqual({ adapter, layout: "hf" });
  });
});

// Upstream's own revisions, by the debug models' keys and shapes.
test.each([
  { adapter: qwen35, layout: "torchtitan", file: "torchtitan" },
  { adapter: qwen35, layout: "torchtitan", file: "torchtitan-2026-05-27" },
  { adapter: qwen35Moe, layout: "torchtitan", file: "torchtitan" },
  { adapter: qwen35Moe, layout: "torchtitan-2026-05", file: "torchtitan-2026-05-27" },
])("$adapter.family $layout has the keys and shapes of upstream's history ($file)", ({ adapter, layout, file }) => {
  const flavour = adapter === qwen35 ? "debugmodel" : "debugmodel_moe";
  const history = JSON.parse(readFileSync(`${FIXTURES}layouts/${file}.json`, "utf8")).qwen3_5[flavour];
  const sizes = { vocab_size: 248320, hidden_size: 256, intermediate_size: 512, moe_intermediate_size: 256 };
  const heads = { num_attention_heads: 4, num_key_value_heads: 2, head_dim: 64, num_experts: 8 };
  const delta = { linear_num_key_heads: 2, linear_key_head_dim: 64, linear_value_head_dim: 64 };
  const tower = { hidden_size: 256, intermediate_size: 512, patch_size: 16, out_hidden_size: 256 };
  const inText = { ...sizes, ...heads, ...delta, shared_expert_intermediate_size: 256 };
  const table = tableOf(adapter, layout, {}, inText, { ...tower, num_position_embeddings: 1024 });
  const ours = [...tensorsOf(table, "native", ["required", "dropped"])].map(([key, { shape }]) => [
    key.replace(/\.\d+\./, ".{}."),
    [shape],
  ]);
  expect(Object.fromEntries(ours)).toEqual(history);
});

/** Tensors of each part of the model: text, both kinds of attention, experts, tower. */
const ledger = [
  { adapter: qwen35, direction: "fromHf", key: "model.language_model.embed_tokens.weight" },
  { adapter: qwen35, direction: "fromHf", key: "lm_head.weight" },
  { adapter: qwen35, direction: "fromHf", key: "model.language_model.layers.0.linear_attn.in_proj_qkv.weight" },
  { adapter: qwen35, direction: "fromHf", key: "model.language_model.layers.2.linear_attn.conv1d.weight" },
  { adapter: qwen35, direction: "fromHf", key: "model.language_model.layers.2.linear_attn.A_log" },
  { adapter: qwen35, direction: "fromHf", key: "model.language_model.layers.0.linear_attn.dt_bias" },
  { adapter: qwen35, direction: "fromHf", key: "model.language_model.layers.1.self_attn.q_proj.weight" },
  { adapter: qwen35, direction: "fromHf", key: "model.language_model.layers.2.mlp.up_proj.weight" },
  { adapter: qwen35, direction: "fromHf", key: "model.visual.patch_embed.proj.weight" },
  { adapter: qwen35, direction: "fromHf", key: "model.visual.pos_embed.weight" },
  { adapter: qwen35, direction: "fromHf", key: "model.visual.blocks.1.attn.qkv.bias" },
  { adapter: qwen35, direction: "fromHf", key: "model.visual.merger.linear_fc1.weight" },
  { adapter: qwen35Moe, direction: "fromHf", key: "model.language_model.layers.1.mlp.experts.gate_up_proj" },
  { adapter: qwen35Moe, direction: "fromHf", key: "model.language_model.layers.0.mlp.experts.down_proj" },
  { adapter: qwen35Moe, direction: "fromHf", key: "model.language_model.layers.2.mlp.gate.weight" },
  { adapter: qwen35Moe, direction: "fromHf", key: "model.language_model.layers.2.mlp.shared_expert_gate.weight" },
  { adapter: qwen35Moe, direction: "fromHf", key: "model.language_model.layers.2.mlp.shared_expert.up_proj.weight" },
  { adapter: qwen35, direction: "toHf", key: "layers.0.attn.in_proj_k.weight" },
  { adapter: qwen35, direction: "toHf", key: "layers.2.attn.conv_v.weight" },
  { adapter: qwen35, direction: "toHf", key: "layers.0.attn.norm.weight" },
  { adapter: qwen35, direction: "toHf", key: "layers.1.attn.wq.weight" },
  { adapter: qwen35, direction: "toHf", key: "layers.1.feed_forward.w2.weight" },
  { adapter: qwen35, direction: "toHf", key: "vision_encoder.pos_embed" },
  { adapter: qwen35, direction: "toHf", key: "vision_encoder.patch_embed.weight" },
  { adapter: qwen35, direction: "toHf", key: "vision_encoder.layers.0.attn.wk.bias" },
  { adapter: qwen35Moe, direction: "toHf", key: "layers.1.moe.routed_experts.inner_experts.w1_EFD" },
  { adapter: qwen35Moe, direction: "toHf", key: "layers.1.moe.routed_experts.inner_experts.w2_EDF" },
  { adapter: qwen35Moe, direction: "toHf", key: "layers.2.moe.router.gate.weight" },
  { adapter: qwen35Moe, direction: "toHf", key: "layers.2.moe.shared_experts.gate.weight" },
] as const;

describe("the ledger", () => {
  test.each(ledger)(
    "$adapter.family $direction: without $key, with another, with another name, and with another shape",
    ({ adapter, direction, key }) => {
      const table = tableOf(adapter, "torchtitan");
      const tensors = tensorsOf(table, sourceOf(direction));
      const plan = (edit: (tensors: Tensors) => void) => refusal(() => table.plan(direction, edited(tensors, edit)));
      const tensor = tensors.get(key)!;
      expect(plan((all) => all.delete(key))).toContain(`MISSING_TENSOR: "${key}"`);
      expect(plan((all) => all.set(`${key}s`, tensor))).toContain(`UNKNOWN_TENSOR: no rule for "${key}s"`);
      const renamed = plan((all) => {
        all.delete(key);
        all.set(`${key}_renamed`, tensor);
      });
      expect(renamed).toContain(`MISSING_TENSOR: "${key}"`);
      const larger = tensor.shape.map((size, i) => (i === 0 ? size + 1 : size));
      expect(plan((all) => all.set(key, { dtype: "F32", shape: larger }))).toContain(`SHAPE_MISMATCH: "${key}"`);
    },
  );

  test("a layer of the other kind of attention is refused, either way", () => {
    const other = { layer_types: ["full_attention", "full_attention", "linear_attention"] };
    for (const direction of ["fromHf", "toHf"] as const) {
      const tensors = tensorsOf(tableOf(qwen35, "torchtitan", {}, other), sourceOf(direction));
      const said = refusal(() => tableOf(qwen35, "torchtitan").plan(direction, tensors));
      expect(said).toMatch(/MISSING_TENSOR: "(model\.language_model\.)?layers\.0\.(linear_attn|attn)\./);
    }
  });

  test("one expert too few is refused", () => {
    const table = tableOf(qwen35Moe, "torchtitan");
    const experts = "model.language_model.layers.1.mlp.experts.down_proj";
    const hf = edited(tensorsOf(table, "hf"), (all) => all.set(experts, { dtype: "F32", shape: [11, 10, 3] }));
    expect(refusal(() => table.plan("fromHf", hf))).toContain(`"${experts}": expected [12,10,3]`);
    const key = "layers.1.moe.routed_experts.inner_experts.w3_EFD";
    const native = edited(tensorsOf(table, "native"), (all) => all.set(key, { dtype: "F32", shape: [11, 3, 10] }));
    expect(refusal(() => table.plan("toHf", native))).toContain(`"${key}": expected [12,3,10]`);
  });

  test("experts transposed as torchtitan 0.3.0 writes them are refused by their shapes", () => {
    const table = tableOf(qwen35Moe, "torchtitan");
    const experts = "model.language_model.layers.1.mlp.experts";
    const hf = edited(tensorsOf(table, "hf"), (all) => {
      all.set(`${experts}.gate_up_proj`, { dtype: "F32", shape: [12, 10, 6] });
      all.set(`${experts}.down_proj`, { dtype: "F32", shape: [12, 3, 10] });
    });
    expect(refusal(() => table.plan("fromHf", hf))).toContain(`"${experts}.gate_up_proj": expected [12,6,10]`);
  });

  test.each(both)("$family: a tied head is another name of the embedding, equal to it", (adapter) => {
    const table = tableOf(adapter, "torchtitan", { tie_word_embeddings: true });
    const head = "lm_head.weight";
    for (const [direction, of] of [
      ["toHf", "tok_embeddings.weight"],
      ["fromHf", "model.language_model.embed_tokens.weight"],
    ] as const) {
      const tensors = tensorsOf(table, sourceOf(direction), ["required", "alias"]);
      expect(table.plan(direction, tensors).equalities).toEqual([{ alias: head, of, reason: "tied embeddings" }]);
      const wrong = edited(tensors, (all) => all.set(head, { dtype: "F32", shape: [8, 10] }));
      expect(refusal(() => table.plan(direction, wrong))).toContain(`SHAPE_MISMATCH: "${head}"`);
    }
  });

  test.each(["fromHf", "toHf"] as const)("%s: a file without the vision tower is told so", (direction) => {
    const table = tableOf(qwen35Moe, "torchtitan");
    const textOnly = edited(tensorsOf(table, sourceOf(direction)), (all) => {
      for (const key of all.keys()) if (/^(model\.visual|vision_encoder)\./.test(key)) all.delete(key);
    });
    expect(refusal(() => table.plan(direction, textOnly))).toMatch(
      /^MISSING_TOWER: the vision tower is absent as a whole: \d+ tensors, from "(model\.visual|vision_encoder)\.patch/,
    );
    expect(detected(adapters, textOnly, configOf(qwen35Moe)).adapter).toBe(qwen35Moe);
  });
});

describe("the head that predicts a second token", () => {
  const shape = [10];
  const keys = ["mtp.fc.weight", "mtp.norm.weight", "mtp.layers.0.input_layernorm.weight"];
  const files = (adapter: Adapter) =>
    edited(tensorsOf(tableOf(adapter, "torchtitan"), "hf"), (all) => {
      for (const key of keys) all.set(key, { dtype: "F32", shape });
    });

  test.each(both)("$family: it is refused by name, with the way out, and let go by it", (adapter) => {
    const table = tableOf(adapter, "torchtitan");
    const hf = files(adapter);
    expect(refusal(() => table.plan("fromHf", hf))).toMatch(
      /^UNKNOWN_TENSOR: no rule for "mtp\.fc\.weight": it belongs/,
    );
    expect(() => table.plan("fromHf", hf)).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({ help: expect.stringContaining("--allow-drop 'mtp.*'") }),
      }),
    );
    const { dropped } = table.plan("fromHf", hf, { allowDrop: (key) => key.startsWith("mtp.") });
    expect(dropped.map(({ key }) => key)).toEqual(keys);
    expect(detected(adapters, hf, null)).toEqual({ adapter, layout: "hf" });
  });

  test("elsewhere the name is as unknown as any other", () => {
    const table = tableOf(qwen35, "torchtitan");
    const native = edited(tensorsOf(table, "native"), (all) => all.set("mtp.fc.weight", { dtype: "F32", shape }));
    expect(refusal(() => table.plan("toHf", native))).not.toContain("it belongs");
  });
});

describe("text alone", () => {
  const table = tableAt(qwen35Moe, "torchtitan", aloneOf(qwen35Moe));
  const asPart = (tensors: Tensors) =>
    new Map([...tensors].map(([key, tensor]) => [key.replace(/^model\./, "model.language_model."), tensor]));

  test("is also read under its names in the whole model", () => {
    const hf = tensorsOf(table, "hf");
    const plan = table.plan("fromHf", asPart(hf));
    const shapes = (moves: typeof plan.moves) => moves.map(({ key, shape }) => [key, shape]);
    expect(shapes(plan.moves)).toEqual(shapes(table.plan("fromHf", hf).moves));
    expect(plan.spelling.get("model.norm.weight")).toBe("model.language_model.norm.weight");
  });

  test("a tower that its config does not describe is unknown", () => {
    const hf = edited(tensorsOf(table, "hf"), (all) =>
      all.set("model.visual.pos_embed.weight", { dtype: "F32", shape: [4, 6] }),
    );
    expect(refusal(() => table.plan("fromHf", hf))).toContain(
      'UNKNOWN_TENSOR: no rule for "model.visual.pos_embed.weight"',
    );
  });
});

test("what keeps its element type when all weights are cast", () => {
  const { critical } = tableOf(qwen35Moe, "torchtitan").plan(
    "fromHf",
    tensorsOf(tableOf(qwen35Moe, "torchtitan"), "hf"),
  );
  const ofFirst = [...critical.keys()].filter((key) => key.includes(".layers.0."));
  expect(ofFirst.map((key) => key.replace("model.language_model.layers.0.", ""))).toEqual([
    "linear_attn.A_log",
    "linear_attn.norm.weight",
    "mlp.gate.weight",
  ]);
});
