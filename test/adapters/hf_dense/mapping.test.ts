import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { hfDense } from "../../../adapters/hf_dense/index.ts";
import { adapters } from "../../../adapters/registry.ts";
import { openCheckpoint } from "../../../src/model/open.ts";
import { fixture } from "../../helpers/fixtures.ts";
import { compiledTable, detected } from "../../helpers/layouts.ts";
import { edited, type Tensors } from "../headers.ts";
import { refusal } from "../refuse.ts";

const LAYERS = 3;
const json = { vocab_size: 7, hidden_size: 10, num_hidden_layers: LAYERS };

function tableOf(fields: Record<string, unknown>) {
  const family = hfDense.open({ ...json, ...fields }, "config.json");
  return compiledTable(family, "torchtitan");
}

/** What a Llama-like model has, by HF key. */
function hfTensors(before = "", tied = false): Tensors {
  const layer = (l: number): [string, readonly number[]][] => [
    ...["q", "k", "v", "o"].map((name): [string, number[]] => [
      `model.layers.${l}.self_attn.${name}_proj.weight`,
      [6, 10],
    ]),
    ...["gate", "up", "down"].map((name): [string, number[]] => [`model.layers.${l}.mlp.${name}_proj.weight`, [4, 10]]),
    [`model.layers.${l}.input_layernorm.weight`, [10]],
    [`model.layers.${l}.post_attention_layernorm.weight`, [10]],
  ];
  const outside: [string, readonly number[]][] = [
    ["model.embed_tokens.weight", [7, 10]],
    ["model.norm.weight", [10]],
  ];
  if (!tied) outside.push(["lm_head.weight", [7, 10]]);
  const all = [...outside, ...Array.from({ length: LAYERS }, (_, l) => layer(l)).flat()];
  return new Map(all.map(([key, shape]) => [before + key, { dtype: "F32", shape }]));
}

const sides = [
  ["fromHf", ""],
  ["toHf", "model."],
] as const;

describe.each(sides)("the ledger, %s", (direction, before) => {
  const table = tableOf({ model_type: "mistral" });
  const tensors = hfTensors(before);
  const plan = (edit: (tensors: Tensors) => void) => refusal(() => table.plan(direction, edited(tensors, edit)));

  test.each([...hfTensors().keys()])("%s removed, renamed, misshapen", (name) => {
    const key = before + name;
    const { shape } = tensors.get(key)!;
    expect(plan((all) => all.delete(key))).toContain(`MISSING_TENSOR: "${key}" is missing`);
    const renamed = plan((all) => {
      all.delete(key);
      all.set(`${key}x`, { dtype: "F32", shape });
    });
    expect(renamed).toContain(`"${key}" is missing`);
    expect(plan((all) => all.set(key, { dtype: "F32", shape: shape.with(0, 5) }))).toContain(
      `SHAPE_MISMATCH: "${key}": expected`,
    );
  });

  test.each(["model.extra.weight", "model.layers.1.extra.weight", "model.layers.3.mlp.up_proj.weight", "extra"])(
    "%s added",
    (name) => {
      expect(plan((all) => all.set(before + name, { dtype: "F32", shape: [10] }))).toContain(
        `UNKNOWN_TENSOR: no rule for "${before}${name}"`,
      );
    },
  );

  test.each([
    ["model.layers.0.mlp.experts.3.w1.weight", "is of a mixture of experts"],
    ["model.layers.0.block_sparse_moe.gate.weight", "is of a mixture of experts"],
    ["model.layers.0.mlp.gate.weight", "is of a mixture of experts"],
    ["model.layers.0.mlp.shared_expert.up_proj.weight", "is of a mixture of experts"],
    ["model.layers.0.mlp.up_proj.weight_scale_inv", "of a quantised weight"],
    ["model.layers.0.mlp.up_proj.qweight", "of a quantised weight"],
    ["model.layers.0.mlp.up_proj.weight_packed", "of a quantised weight"],
    ["model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4", "of a quantised weight"],
  ])("%s is refused in its own words, in every layer or one", (name, reason) => {
    const add = (count: number) => (all: Tensors) => {
      for (let l = 0; l < count; l++)
        all.set(before + name.replace("layers.0", `layers.${l}`), { dtype: "F32", shape: [10] });
    };
    for (const count of [1, LAYERS]) expect(plan(add(count))).toContain(`"${before}${name}": it `);
    expect(plan(add(LAYERS))).toContain(reason);
  });

  test("what every layer lacks is missing in the first", () => {
    const name = (l: number) => `${before}model.layers.${l}.mlp.up_proj.weight`;
    const without = (layers: readonly number[]) =>
      plan((all) => {
        for (const l of layers) all.delete(name(l));
      });
    expect(without([0, 1, 2])).toContain(`MISSING_TENSOR: "${name(0)}" is missing: expected it at every index`);
    expect(without([1, 2])).toContain(`MISSING_TENSOR: "${name(1)}" is missing: expected [4,10]`);
  });

  test.each(["mlp.gate_proj.weights", "mlp.gate_up_proj.weight", "self_attn.gate.weight", "layer_scale"])(
    "%s is neither expert nor scale",
    (name) => {
      const dense = edited(tensors, (all) => {
        for (let l = 0; l < LAYERS; l++) all.set(`${before}model.layers.${l}.${name}`, { dtype: "F32", shape: [10] });
      });
      expect(table.plan(direction, dense).moves).toHaveLength(dense.size);
    },
  );
});

describe("tied embeddings", () => {
  const table = tableOf({ model_type: "gemma" });

  test("the head is made from the embedding, and must equal it on the way back", () => {
    const { moves } = table.plan("fromHf", hfTensors("", true));
    const head = moves.find(({ key }) => key === "model.lm_head.weight");
    expect(head?.pieces[0]?.source).toBe("model.embed_tokens.weight");
    const back = table.plan("toHf", hfTensors("model."));
    expect(back.equalities.map(({ alias, of }) => [alias, of])).toEqual([
      ["model.lm_head.weight", "model.model.embed_tokens.weight"],
    ]);
    expect(back.moves.map(({ key }) => key)).not.toContain("lm_head.weight");
  });

  test("an untied model without a head is incomplete, where upstream's from_hf would make one up", () => {
    expect(refusal(() => tableOf({ model_type: "mistral" }).plan("fromHf", hfTensors("", true)))).toContain(
      'MISSING_TENSOR: "lm_head.weight"',
    );
  });
});

describe("an architecture that is not in the list", () => {
  const fields = { model_type: "never_seen", tie_word_embeddings: false };
  const table = tableOf(fields);

  test("is taken at the user's word alone", () => {
    const unknown = () => detected(adapters, hfTensors(), { ...json, ...fields });
    expect(refusal(unknown)).toBe('UNKNOWN_FAMILY: no family for model_type "never_seen"');
    expect(detected(adapters, hfTensors(), { ...json, ...fields }, { family: "hf-dense" }).layout).toBe("hf");
    expect(detected(adapters, hfTensors("model."), { ...json, ...fields }, { family: "hf-dense" }).layout).toBe(
      "torchtitan",
    );
  });

  test("may have more outside its layers", () => {
    const more = edited(hfTensors(), (all) => all.set("model.extra.weight", { dtype: "F32", shape: [3] }));
    expect(table.plan("fromHf", more).moves.map(({ key }) => key)).toContain("model.model.extra.weight");
    const expert = edited(hfTensors(), (all) => all.set("model.experts.weight", { dtype: "F32", shape: [3] }));
    expect(refusal(() => table.plan("fromHf", expert))).toContain("mixture of experts");
  });
});

test("a family with a table of its own comes first, with its config or by its keys", () => {
  const { hf } = fixture("llama3/split");
  const checkpoint = openCheckpoint(hf);
  const config = JSON.parse(readFileSync(`${hf}/config.json`, "utf8"));
  for (const known of [config, null])
    expect(detected(adapters, checkpoint.tensors, known).adapter.family).toBe("llama3");
  expect(detected(adapters, checkpoint.tensors, config, { family: "hf-dense" }).adapter.family).toBe("hf-dense");
  checkpoint.close();
});
