import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { museGlimmer } from "../../../adapters/muse_glimmer/index.ts";
import { adapters } from "../../../adapters/registry.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { compiledTable, detected } from "../../helpers/layouts.ts";
import { edited, type Tensors, tensorsOf } from "../headers.ts";
import { refusal } from "../refuse.ts";

type Fields = Record<string, unknown>;

const json = {
  model_type: "muse_glimmer",
  out_hidden_size: 64,
  projector_hidden_size: 9,
  text_config: {
    vocab_size: 7,
    hidden_size: 12,
    intermediate_size: 5,
    num_hidden_layers: 3,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 6,
  },
  vision_config: {
    hidden_size: 16,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    intermediate_size: 10,
    patch_size: 3,
    pos_emb_height: 5,
    pos_emb_width: 7,
  },
};

function tableOf(fields: Fields = {}) {
  const family = museGlimmer.open({ ...json, ...fields }, "config.json");
  return compiledTable(family, "torchtitan");
}

test.each<Fields>([{}, { tie_word_embeddings: true }, { vision_config: null }])(
  "with %o: what one direction makes, the other takes",
  (fields) => {
    const table = tableOf(fields);
    const hf = tensorsOf(table, "hf");
    const native = table.plan("fromHf", hf).moves;
    const back = table.plan("toHf", new Map(native.map(({ key, shape }) => [key, { dtype: "F32" as const, shape }])));
    expect(new Map(back.moves.map(({ key, shape }) => [key, shape]))).toEqual(
      new Map([...hf].map(([key, { shape }]) => [key, shape])),
    );
  },
);

test("has the keys and shapes of upstream's debug model, which is text alone", () => {
  const history = JSON.parse(readFileSync(`${FIXTURES}layouts/torchtitan.json`, "utf8")).muse_glimmer.debugmodel;
  const sizes = { vocab_size: 2048, hidden_size: 256, intermediate_size: 768, num_hidden_layers: 8 };
  const heads = { num_attention_heads: 4, num_key_value_heads: 2, head_dim: 64 };
  const table = tableOf({ text_config: { ...sizes, ...heads }, vision_config: null });
  const ours = [...tensorsOf(table, "native")].map(([key, { shape }]) => [key.replace(/\.\d+\./, ".{}."), [shape]]);
  expect(Object.fromEntries(ours)).toEqual(history);
});

test.each<Fields>([{}, { vision_config: null }])("with %o: is recognised, with its config and without", (fields) => {
  const table = tableOf(fields);
  for (const config of [{ ...json, ...fields }, null]) {
    expect(detected(adapters, tensorsOf(table, "native"), config)).toEqual({
      adapter: museGlimmer,
      layout: "torchtitan",
    });
    expect(detected(adapters, tensorsOf(table, "hf"), config)).toEqual({ adapter: museGlimmer, layout: "hf" });
  }
});

describe("channels", () => {
  /** Offset in the source of each row of the target. */
  function rowsOf(key: string, rowLength: number): number[] {
    const table = tableOf();
    const move = table.plan("toHf", tensorsOf(table, "native")).moves.find((one) => one.key === key)!;
    const rows: number[] = Array(move.shape[0]).fill(-1);
    for (const { sizes, sourceOffset, targetOffset, sourceStrides, targetStrides } of move.pieces) {
      const count = sizes.reduce((product, size) => product * size, 1);
      for (let i = 0; i < count; i++) {
        let [from, to, rest] = [sourceOffset, targetOffset, i];
        for (let axis = sizes.length - 1; axis >= 0; axis--) {
          from += (rest % sizes[axis]!) * sourceStrides[axis]!;
          to += (rest % sizes[axis]!) * targetStrides[axis]!;
          rest = Math.floor(rest / sizes[axis]!);
        }
        if (to % rowLength === 0) rows[to / rowLength] = from / rowLength;
      }
    }
    return rows;
  }

  test("of queries and keys are halves in HF, in pairs natively", () => {
    const layer = "model.language_model.layers.1.self_attn";
    expect(rowsOf(`${layer}.q_proj.weight`, 12).slice(6, 12)).toEqual([6, 8, 10, 7, 9, 11]);
    expect(rowsOf(`${layer}.k_proj.weight`, 12)).toEqual([0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
    expect(rowsOf(`${layer}.v_proj.weight`, 12)).toEqual([...Array(12).keys()]);
    expect(rowsOf(`${layer}.gate_proj.weight`, 12)).toEqual([...Array(24).keys()]);
  });

  test("and so in the tower, biases too", () => {
    const block = "model.vision_tower.layers.1.attn";
    const halves = [0, 2, 4, 6, 1, 3, 5, 7];
    const both = [...halves, ...halves.map((row) => row + 8)];
    expect(rowsOf(`${block}.q_proj.weight`, 16)).toEqual(both);
    expect(rowsOf(`${block}.k_proj.bias`, 1)).toEqual(both);
    expect(rowsOf(`${block}.v_proj.bias`, 1)).toEqual([...Array(16).keys()]);
  });
});

/** Tensors of each part of the model: text, gate, tower, adapter. */
const ledger = [
  ["fromHf", "model.language_model.embed_tokens.weight"],
  ["fromHf", "model.language_model.layers.2.self_attn.gate_proj.weight"],
  ["fromHf", "model.language_model.layers.0.post_feedforward_layernorm.weight"],
  ["fromHf", "lm_head.weight"],
  ["fromHf", "model.vision_tower.patch_embedder.patch_embedding.weight"],
  ["fromHf", "model.vision_tower.patch_embedder.position_embedding_table.weight"],
  ["fromHf", "model.vision_tower.layers.1.attn.q_proj.bias"],
  ["fromHf", "model.vision_adapter.fc2.weight"],
  ["fromHf", "model.vision_projection.weight"],
  ["toHf", "tok_embeddings.embedding.weight"],
  ["toHf", "layers.1.attention.qkv_linear.wk.weight"],
  ["toHf", "layers.1.attention.o_gate.weight"],
  ["toHf", "layers.2.post_attention_norm.weight"],
  ["toHf", "vision_encoder.positional_embedding_vlm"],
  ["toHf", "vision_encoder.layers.0.attn.wk.bias"],
  ["toHf", "vision_encoder.ln_post.bias"],
  ["toHf", "vision_adapter.c_fc.weight"],
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

  test.each([
    ["fromHf", "lm_head.weight", "model.language_model.embed_tokens.weight"],
    ["toHf", "lm_head.weight", "tok_embeddings.embedding.weight"],
  ] as const)("%s: a tied head has to be the embedding", (direction, alias, of) => {
    const table = tableOf({ tie_word_embeddings: true });
    const tensors = tensorsOf(table, sideOf(direction), ["required", "alias"]);
    expect(table.plan(direction, tensors).equalities).toEqual([{ alias, of, reason: "tied embeddings" }]);
  });

  test.each(["fromHf", "toHf"] as const)("%s: a file without the vision tower is told so", (direction) => {
    const textAlone = tensorsOf(tableOf({ vision_config: null }), sideOf(direction));
    expect(refusal(() => tableOf().plan(direction, textAlone))).toMatch(
      /^MISSING_TOWER: the vision tower is absent as a whole: 41 tensors/,
    );
    expect(detected(adapters, textAlone, json).adapter).toBe(museGlimmer);
  });
});
