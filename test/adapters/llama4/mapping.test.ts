import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { llama4 } from "../../../adapters/llama4/index.ts";
import { adapters } from "../../../adapters/registry.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { compiledTable, detected, nativeNames } from "../../helpers/layouts.ts";
import { edited, type Tensors, tensorsOf } from "../headers.ts";
import { refusal } from "../refuse.ts";

type Fields = Readonly<Record<string, unknown>>;

const json = {
  vocab_size: 7,
  hidden_size: 10,
  intermediate_size: 3,
  intermediate_size_mlp: 5,
  num_hidden_layers: 4,
  interleave_moe_layer_step: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 6,
  num_local_experts: 12,
};
const alone = (fields: Fields = {}) => ({ model_type: "llama4_text", ...json, ...fields });
const whole = (fields: Fields = {}) => ({ model_type: "llama4", text_config: { ...json, ...fields } });

function tableOf(layout: string, config: Fields = whole()) {
  const family = llama4.open(config, "config.json");
  return compiledTable(family, layout);
}

const all = ["required", "dropped"];
const shapesOf = (tensors: Iterable<readonly [string, { readonly shape: readonly number[] }]>) =>
  new Map([...tensors].map(([key, { shape }]) => [key, shape]));

describe.each(nativeNames(llama4))("%s", (layout) => {
  test.each<Fields>([
    whole(),
    alone(),
    whole({ tie_word_embeddings: true }),
    whole({ attention_bias: true }),
    whole({ moe_layers: [] }),
    alone({ interleave_moe_layer_step: 1 }),
    whole({ intermediate_size: 5 }),
  ])("with %o: what one direction makes, the other takes", (config) => {
    const table = tableOf(layout, config);
    const hf = tensorsOf(table, "hf");
    const native = table.plan("fromHf", hf).moves;
    const back = table.plan("toHf", new Map(native.map(({ key, shape }) => [key, { dtype: "F32" as const, shape }])));
    expect(back.dropped.every(({ equals }) => equals === 0)).toBe(true);
    expect(shapesOf(back.moves.map((move) => [move.key, move]))).toEqual(shapesOf(hf));
  });

  test.each([whole(), alone()])("is recognised, with its config and without", (config) => {
    const table = tableOf(layout, config);
    const native = tensorsOf(table, "native", all);
    for (const known of [config, null]) {
      expect(detected(adapters, native, known)).toEqual({ adapter: llama4, layout });
      expect(detected(adapters, tensorsOf(table, "hf"), known)).toEqual({ adapter: llama4, layout: "hf" });
    }
  });
});

// Upstream's own revisions, by the debug model's keys and shapes.
test.each([
  ["torchtitan-2026-04-27", "torchtitan-2026-04-27"],
  ["torchtitan-2026-04-16", "torchtitan-2026-04-16"],
  ["torchtitan-0.2", "torchtitan-2026-04-11"],
])("%s has the keys and shapes of upstream's history", (layout, file) => {
  const history = JSON.parse(readFileSync(`${FIXTURES}layouts/${file}.json`, "utf8")).llama4.debugmodel;
  const sizes = { vocab_size: 2048, hidden_size: 256, intermediate_size: 512, intermediate_size_mlp: 768 };
  const heads = { num_attention_heads: 16, num_key_value_heads: 16, head_dim: 16, num_local_experts: 8 };
  const ours = [...tensorsOf(tableOf(layout, whole({ ...sizes, ...heads })), "native", all)];
  expect(Object.fromEntries(ours.map(([key, { shape }]) => [key.replace(/\.\d+\./, ".{}."), [shape]]))).toEqual(
    history,
  );
});

test("the layouts differ from one another where upstream's revisions do", () => {
  const keys = (layout: string) => [...tensorsOf(tableOf(layout), "native", all).keys()];
  const own = (layout: string, other: string) =>
    keys(layout)
      .filter((key) => !keys(other).includes(key) && /^(layers\.1\.|[^l]|lm)/.test(key))
      .map((key) => key.replace("layers.1.", ""));
  const experts = ["moe.expert_bias", "moe.experts.w1", "moe.experts.w2", "moe.experts.w3"];
  expect(own("torchtitan-fused", "torchtitan")).toEqual(["attention.qkv_linear.wqkv.weight"]);
  expect(own("torchtitan-2026-04-27", "torchtitan").sort()).toEqual(experts);
  expect(own("torchtitan-2026-04-16", "torchtitan-2026-04-27")).toEqual(["output.weight"]);
  expect(own("torchtitan-0.2", "torchtitan-2026-04-16").sort()).toEqual(
    ["wk", "wq", "wv"].map((name) => `attention.${name}.weight`),
  );
  for (const layout of ["torchtitan-2026-04-27", "torchtitan-2026-04-16"])
    expect(own(`${layout}-fused`, layout)).toEqual(["attention.qkv_linear.wqkv.weight"]);
});

const hf = "language_model.model.layers";

describe("the ledger", () => {
  const table = tableOf("torchtitan");
  test.each([
    ["fromHf", "language_model.model.embed_tokens.weight"],
    ["fromHf", "language_model.lm_head.weight"],
    ["fromHf", `${hf}.0.feed_forward.up_proj.weight`],
    ["fromHf", `${hf}.2.self_attn.q_proj.weight`],
    ["fromHf", `${hf}.1.feed_forward.experts.gate_up_proj`],
    ["fromHf", `${hf}.3.feed_forward.experts.down_proj`],
    ["fromHf", `${hf}.1.feed_forward.router.weight`],
    ["fromHf", `${hf}.3.feed_forward.shared_expert.down_proj.weight`],
    ["toHf", "layers.2.feed_forward.w2.weight"],
    ["toHf", "layers.0.attention.qkv_linear.wk.weight"],
    ["toHf", "layers.1.moe.experts.w1_EFD"],
    ["toHf", "layers.3.moe.experts.w2_EDF"],
    ["toHf", "layers.1.moe.router.gate.weight"],
    ["toHf", "layers.3.moe.shared_experts.w3.weight"],
    ["toHf", "lm_head.weight"],
  ] as const)("%s: without %s, with another, with another name, and with another shape", (direction, key) => {
    const tensors = tensorsOf(table, direction === "toHf" ? "native" : "hf");
    const plan = (edit: (tensors: Tensors) => void) => refusal(() => table.plan(direction, edited(tensors, edit)));
    const tensor = tensors.get(key)!;
    const { shape } = tensor;
    expect(plan((keys) => keys.delete(key))).toContain(`MISSING_TENSOR: "${key}"`);
    expect(plan((keys) => keys.set(`${key}_more`, tensor))).toContain(`UNKNOWN_TENSOR: no rule for "${key}_more"`);
    expect(plan((keys) => keys.delete(key) && keys.set(`${key}_more`, tensor))).toContain(`MISSING_TENSOR: "${key}"`);
    expect(plan((keys) => keys.set(key, { dtype: "F32", shape: shape.with(0, shape[0]! - 1) }))).toContain(
      `SHAPE_MISMATCH: "${key}": expected [${shape}]`,
    );
  });

  test.each([
    ["fromHf", "language_model.lm_head.weight", "language_model.model.embed_tokens.weight"],
    ["toHf", "lm_head.weight", "tok_embeddings.weight"],
  ] as const)("%s: a tied head has to be the embedding", (direction, alias, of) => {
    const tied = tableOf("torchtitan", whole({ tie_word_embeddings: true }));
    const tensors = tensorsOf(tied, direction === "toHf" ? "native" : "hf", ["required", "alias"]);
    expect(tied.plan(direction, tensors).equalities).toEqual([{ alias, of, reason: "tied embeddings" }]);
  });

  test("experts of a dense layer, and a dense layer's matrices among experts, are not known", () => {
    const move = (tensors: Tensors, from: string, to: string) => {
      tensors.set(to, tensors.get(from)!);
    };
    const source = tensorsOf(table, "hf");
    for (const [from, to] of [
      [`${hf}.1.feed_forward.router.weight`, `${hf}.0.feed_forward.router.weight`],
      [`${hf}.0.feed_forward.up_proj.weight`, `${hf}.1.feed_forward.up_proj.weight`],
    ] as const)
      expect(
        refusal(() =>
          table.plan(
            "fromHf",
            edited(source, (keys) => move(keys, from, to)),
          ),
        ),
      ).toContain(`"${to}"`);
  });
});

describe("the text model's prefix", () => {
  const native = (source: Tensors, config: Fields) =>
    shapesOf(
      tableOf("torchtitan", config)
        .plan("fromHf", source)
        .moves.map((m) => [m.key, m]),
    );

  test("comes with the model that sees, and not with the text alone; either is read with either config", () => {
    const [prefixed, bare] = [whole(), alone()].map((config) => tensorsOf(tableOf("torchtitan", config), "hf"));
    expect([...bare!.keys()].map((key) => `language_model.${key}`)).toEqual([...prefixed!.keys()]);
    for (const config of [whole(), alone()]) {
      expect(native(prefixed!, config)).toEqual(native(bare!, config));
      for (const keys of [prefixed!, bare!])
        expect(detected(adapters, keys, config)).toEqual({ adapter: llama4, layout: "hf" });
    }
  });

  test("of one tensor under both spellings, which one counts is not guessed", () => {
    const twice = edited(tensorsOf(tableOf("torchtitan"), "hf"), (keys) =>
      keys.set("lm_head.weight", keys.get("language_model.lm_head.weight")!),
    );
    expect(refusal(() => tableOf("torchtitan").plan("fromHf", twice))).toContain("TWO_SPELLINGS");
  });
});

/** Kinds of keys that Llama4ForConditionalGeneration has beside its text, with as many dims as they have. */
const VISION = [
  ...["class_embedding", "positional_embedding_vlm", "patch_embedding.linear.weight"],
  ...["layernorm_pre", "layernorm_post"].flatMap(both),
  ...["q_proj", "k_proj", "v_proj", "o_proj"].flatMap((name) => both(`model.layers.0.self_attn.${name}`)),
  ...["mlp.fc1", "mlp.fc2", "input_layernorm", "post_attention_layernorm"].flatMap((name) =>
    both(`model.layers.0.${name}`),
  ),
  ...["vision_adapter.mlp.fc1.weight", "vision_adapter.mlp.fc2.weight"],
].map((name) => `vision_model.${name}`);

function both(name: string): string[] {
  return [`${name}.weight`, `${name}.bias`];
}

describe("a model that sees, as the Hub has it", () => {
  const table = tableOf("torchtitan");
  const seeing = edited(tensorsOf(table, "hf"), (keys) => {
    for (const key of [...VISION, "multi_modal_projector.linear_1.weight"])
      keys.set(key, { dtype: "F32", shape: [2, 2] });
  });

  test.each([whole(), alone(), null])("is recognised, with its config and without", (config) => {
    expect(detected(adapters, seeing, config)).toEqual({ adapter: llama4, layout: "hf" });
  });

  test("its tower is refused by name, with the way out", () => {
    const run = () => table.plan("fromHf", seeing);
    expect(refusal(run)).toContain(
      `UNKNOWN_TENSOR: no rule for "vision_model.class_embedding": it belongs to the vision tower, which torchtitan's Llama 4 does not have; and ${VISION.length} more`,
    );
    const help = expect.stringMatching(/--allow-drop 'vision_model\.\*' --allow-drop 'multi_modal_projector\.\*'/);
    expect(run).toThrow(expect.objectContaining({ details: expect.objectContaining({ help }) }));
  });

  test("the way out is one: both globs are needed, and what goes is listed", () => {
    const plan = (...starts: readonly string[]) =>
      table.plan("fromHf", seeing, { allowDrop: (key) => starts.some((start) => key.startsWith(start)) });
    expect(refusal(() => plan("vision_model."))).toContain('"multi_modal_projector.linear_1.weight"');
    const { moves, dropped, absent } = plan("vision_model.", "multi_modal_projector.");
    expect(shapesOf(moves.map((move) => [move.key, move]))).toEqual(shapesOf(tensorsOf(table, "native", all)));
    expect(dropped).toHaveLength(VISION.length + 1);
    expect(absent).toEqual([]);
  });

  test("of which only the text is there is told as such", () => {
    expect(table.plan("fromHf", tensorsOf(table, "hf")).absent).toEqual(["vision tower"]);
    expect(table.plan("toHf", tensorsOf(table, "native")).absent).toEqual(["vision tower"]);
    const text = tableOf("torchtitan", alone());
    expect(text.plan("fromHf", tensorsOf(text, "hf")).absent).toEqual([]);
  });
});

test("experts lie input first on the HF side, gate before up", () => {
  const table = tableOf("torchtitan");
  const moves = table.plan("fromHf", tensorsOf(table, "hf")).moves;
  const gateUp = (name: string) => moves.find(({ key }) => key === `layers.1.moe.experts.${name}`);
  const of = (name: string) =>
    gateUp(name)!.pieces.map(({ sourceOffset, sourceStrides }) => [sourceOffset, sourceStrides]);
  // [12, 10, 6]: an expert is 60 elements, an input row 6, of which the first 3 are gate
  expect(gateUp("w1_EFD")?.shape).toEqual([12, 3, 10]);
  expect(of("w1_EFD")).toEqual([[0, [60, 1, 6]]]);
  expect(of("w3_EFD")).toEqual([[3, [60, 1, 6]]]);
});
