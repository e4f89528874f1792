// Model args of torchtitan 0.2 against the HF config whose logits its model had, as fixtures/generate/families_02.py has both.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { llama4 } from "../../../adapters/llama4/index.ts";
import { readState, writeDcp } from "../../helpers/checkpoints.ts";
import { converted, hashes } from "../../helpers/converted.ts";
import { fixture } from "../../helpers/fixtures.ts";
import { scratch } from "../../helpers/scratch.ts";
import { refusal } from "../refuse.ts";

type Fields = Readonly<Record<string, unknown>>;

const ARGS = {
  dim: 32,
  n_layers: 4,
  n_heads: 4,
  n_kv_heads: 2,
  vocab_size: 127,
  multiple_of: 1,
  rope_theta: 5e5,
  rope_scaling_args: { high_freq_factor: 4, original_max_position_embeddings: 128 },
  max_seq_len: 640,
  every_n_layers_nope: 3,
  moe_args: { num_experts: 12, top_k: 2 },
};
const one = fixture("llama4/torchtitan-0.2");
const open = (json: Fields) => llama4.open(json, "params.json");

test("they mean what the HF config means, and so does the config.json made of them", () => {
  const { math } = open(JSON.parse(readFileSync(`${one.hf}/config.json`, "utf8")));
  expect(open(ARGS).math()).toEqual(math());
  expect(open({ model_spec: { model: ARGS } }).math()).toEqual(math());
  const made = open(ARGS).hfConfig();
  expect(made).toMatchObject({ model_type: "llama4_text", architectures: ["Llama4ForCausalLM"] });
  expect(open(made).math()).toEqual(math());
});

test("a checkpoint with them beside it becomes a text model, which goes back", async () => {
  const source = writeDcp(join(scratch(), "native"), readState(one.native));
  writeFileSync(join(source, "config.json"), JSON.stringify(ARGS));
  const target = join(scratch(), "hf");
  const { notes } = await converted(source, target);
  expect(notes.join()).toContain("config.json was made from");
  expect(notes.join()).not.toContain("tower");
  const expected = [...one.toHf].map(([key, tensor]) => [key.replace("language_model.", ""), tensor] as const);
  expect(hashes(target)).toEqual(new Map(expected));
  const back = join(scratch(), "back");
  await converted(target, back, { to: "torchtitan-0.2" });
  expect(hashes(back)).toEqual(hashes(one.native));
});

test("sizes of the models that upstream names", () => {
  const experts = (fields: Fields) => open({ moe_args: {}, ...fields }).math();
  const real = { dim: 5120, n_layers: 48, n_heads: 40, n_kv_heads: 8, ffn_dim_multiplier: 1.2, multiple_of: 2048 };
  expect(experts(real)).toMatchObject({ ffnDim: 16384, expertDim: 8192, headDim: 128 });
  expect(experts({ ...real, auto_scale_hidden_dim: false })).toMatchObject({ expertDim: 16384 });
  expect(experts({ dim: 256, n_heads: 16 })).toMatchObject({ ffnDim: 768, expertDim: 512, nKvHeads: 16 });
});

test("without NoPE layers all are rotated and none is chunked", () => {
  const math = open({ ...ARGS, every_n_layers_nope: null }).math();
  expect(math).toMatchObject({ ropeLayers: [0, 1, 2, 3], chunkedLayers: [], chunkSize: 0 });
});

const moe = (fields: Fields) => ({ ...ARGS, moe_args: { ...ARGS.moe_args, ...fields } });

test.each<[Fields, string]>([
  [moe({ score_before_experts: false }), '"moe_args.score_before_experts" is false'],
  [moe({ score_func: "softmax" }), '"moe_args.score_func" is "softmax"'],
  [moe({ route_norm: true }), '"moe_args.route_norm"'],
  [moe({ route_scale: 2 }), '"moe_args.route_scale"'],
  [moe({ gate_bias: true }), '"moe_args.gate_bias"'],
  [moe({ num_shared_experts: 2 }), '"moe_args.num_shared_experts"'],
  [moe({ num_expert_groups: 2 }), '"moe_args.num_expert_groups"'],
  [{ ...ARGS, every_n_layers_nope: 1 }, '"every_n_layers_nope"'],
  [{ ...ARGS, n_heads: 5 }, '"dim" must be a multiple of n_heads (5)'],
  [{ ...ARGS, moe_args: undefined }, '"model_type" must be "llama4"'],
  [{ layers: [], moe_args: {} }, '"model_type" must be "llama4"'],
])("%# is refused by the name of its field", (json, message) => {
  expect(refusal(() => open(json))).toContain(message);
});
