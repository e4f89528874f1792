import { describe, expect, test } from "vitest";
import { llama3 } from "../../../adapters/llama3/index.ts";
import type { Dtype } from "../../../src/base/dtype.ts";
import type { SourceTensor } from "../../../src/table/plan.ts";
import { compiledTable, nativeNames } from "../../helpers/layouts.ts";

const json = {
  model_type: "llama",
  num_hidden_layers: 2,
  hidden_size: 12,
  num_attention_heads: 3,
  num_key_value_heads: 1,
  head_dim: 4,
  intermediate_size: 5,
  vocab_size: 7,
};

function tableOf(layout: string, fields: Record<string, unknown> = {}) {
  const family = llama3.open({ ...json, ...fields }, "config.json");
  return compiledTable(family, layout);
}

function tensorsOf(table: ReturnType<typeof tableOf>, side: "native" | "hf", needs: readonly string[] = ["required"]) {
  const tensors = table.tensors(side).filter(({ need }) => needs.includes(need));
  return new Map<string, SourceTensor>(
    tensors.map(({ key, shape }) => [key, { dtype: "F32" as Dtype, shape: shape.map((size) => size ?? 6) }]),
  );
}

/** Layouts whose files leave a tied head out. */
const WITHOUT_HEAD = ["vllm", "megatron"];

describe.each(nativeNames(llama3))("%s", (layout) => {
  test.each([{}, { tie_word_embeddings: true }, { attention_bias: true, mlp_bias: true }])(
    "with %o: what one direction makes, the other takes",
    (fields) => {
      const table = tableOf(layout, fields);
      const hf = tensorsOf(table, "hf");
      const native = table.plan("fromHf", hf).moves;
      expect(new Set(native.map(({ key }) => key))).toEqual(
        new Set(
          tensorsOf(table, "native", WITHOUT_HEAD.includes(layout) ? ["required"] : ["required", "alias"]).keys(),
        ),
      );
      const back = table.plan("toHf", new Map(native.map(({ key, shape }) => [key, { dtype: "F32" as const, shape }])));
      expect(new Map(back.moves.map(({ key, shape }) => [key, shape]))).toEqual(
        new Map([...hf].map(([key, { shape }]) => [key, shape])),
      );
    },
  );
});

test("keys of the layouts", () => {
  const keys = (layout: string) => [...tensorsOf(tableOf(layout, { attention_bias: true }), "native").keys()];
  expect(keys("torchtitan")).toContain("layers.1.attention.qkv_linear.wk.bias");
  expect(keys("torchtitan-fused")).toContain("layers.1.attention.qkv_linear.wqkv.bias");
  expect(keys("torchtitan-0.2")).toContain("layers.1.attention.wq.weight");
  expect(keys("torchtitan-0.2").at(-1)).toBe("output.weight");
});

test("rows of the fused projection lie by key head", () => {
  const table = tableOf("torchtitan-fused", { num_attention_heads: 4, num_key_value_heads: 2, head_dim: 2 });
  const move = table
    .plan("fromHf", tensorsOf(table, "hf"))
    .moves.find(({ key }) => key.endsWith("0.attention.qkv_linear.wqkv.weight"));
  expect(move!.shape).toEqual([16, 12]);
  expect(move!.pieces.map(({ source, targetOffset }) => [source.split(".").at(-2), targetOffset / 12])).toEqual([
    ["q_proj", 0],
    ["k_proj", 4],
    ["v_proj", 6],
  ]);
  expect(move!.pieces[0]!.targetStrides[0]).toBe(8 * 12);
});

test("buffers that older versions saved are dropped, with the values they must have", () => {
  const table = tableOf("torchtitan", { rope_theta: 100, rope_scaling: { type: "linear", factor: 2 } });
  const hf = tensorsOf(table, "hf").set("model.layers.1.self_attn.rotary_emb.inv_freq", { dtype: "F16", shape: [2] });
  const { dropped, moves } = table.plan("fromHf", hf);
  expect(dropped.map(({ key }) => key)).toEqual(["model.layers.1.self_attn.rotary_emb.inv_freq"]);
  expect([...dropped[0]!.derived!()]).toEqual([1, Math.fround(0.1)]);
  expect(moves.some(({ key }) => key.includes("freq"))).toBe(false);
  const native = tensorsOf(table, "native").set("freqs_cis", { dtype: "C64", shape: [2048, 2] });
  expect(table.plan("toHf", native).dropped.map(({ key }) => key)).toEqual(["freqs_cis"]);
});

test("a shipped alias of a tied model must be equal and is not carried over", () => {
  const table = tableOf("torchtitan", { tie_word_embeddings: true });
  const { equalities, moves } = table.plan("fromHf", tensorsOf(table, "hf", ["required", "alias"]));
  expect(equalities).toEqual([{ alias: "lm_head.weight", of: "model.embed_tokens.weight", reason: "tied embeddings" }]);
  expect(moves.find(({ key }) => key === "lm_head.weight")!.pieces[0]!.source).toBe("model.embed_tokens.weight");
});

test("a config that says tied leaves an untied model without its head, and says so", () => {
  const table = tableOf("torchtitan");
  const tied = tensorsOf(tableOf("torchtitan", { tie_word_embeddings: true }), "hf");
  expect(() => table.plan("fromHf", tied)).toThrow('"lm_head.weight" is missing: expected [7,12] = [v, d]');
});
