// Model args of torchtitan 0.2 of the families with experts, against the HF config whose logits its model had. Args as in
// fixtures/generate/families_02.py; absent fields are the defaults of the dataclasses.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { readState, writeDcp } from "../helpers/checkpoints.ts";
import { converted, hashes, sorted } from "../helpers/converted.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";
import { refusal } from "./refuse.ts";

const softmax = {
  num_experts: 12,
  num_shared_experts: 0,
  score_func: "softmax",
  route_norm: true,
  score_before_experts: false,
};
const ARGS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  qwen3_moe: {
    dim: 30,
    n_layers: 2,
    n_heads: 6,
    n_kv_heads: 2,
    head_dim: 8,
    hidden_dim: 40,
    vocab_size: 127,
    max_seq_len: 640,
    moe_enabled: true,
    moe_inter_dim: 14,
    moe_args: { ...softmax, top_k: 2 },
  },
  deepseek_v3: {
    vocab_size: 127,
    dim: 32,
    inter_dim: 46,
    moe_inter_dim: 14,
    n_layers: 2,
    n_heads: 3,
    norm_eps: 1e-6,
    q_lora_rank: 18,
    kv_lora_rank: 14,
    qk_nope_head_dim: 10,
    qk_rope_head_dim: 8,
    v_head_dim: 12,
    max_seq_len: 640,
    original_seq_len: 64,
    rope_factor: 8,
    moe_args: {
      num_experts: 12,
      route_norm: true,
      route_scale: 2.5,
      score_before_experts: false,
      top_k: 3,
      num_expert_groups: 4,
      num_limited_groups: 2,
    },
  },
  gpt_oss: {
    vocab_size: 127,
    dim: 30,
    moe_inter_dim: 22,
    n_layers: 2,
    head_dim: 16,
    n_heads: 4,
    n_kv_heads: 2,
    sliding_window_size: 37,
    max_seq_len: 640,
    original_seq_len: 512,
    rope_factor: 8,
    moe_args: { ...softmax, gate_bias: true, top_k: 3 },
  },
};

describe.each(Object.entries(ARGS))("%s", (family, args) => {
  const adapter = adapters.find((one) => one.family === family)!;
  const one = fixture(`${family}/torchtitan-0.2`);
  const open = (json: Readonly<Record<string, unknown>>) => adapter.open(json, "params.json");

  test("they mean what the HF config means", () => {
    const config = open(JSON.parse(readFileSync(`${one.hf}/config.json`, "utf8")));
    expect(open(args).math()).toEqual(config.math());
    expect(open({ model_spec: { model: args } }).math()).toEqual(config.math());
  });

  test("the config.json made of them means the same", () => {
    const hf = open(args).hfConfig();
    expect(hf.model_type).toBe(family);
    expect(open(hf).math()).toEqual(open(args).math());
  });

  test("a checkpoint with them beside it converts, and its config.json opens", async () => {
    const source = writeDcp(join(scratch(), "native"), readState(one.native));
    writeFileSync(join(source, "config.json"), JSON.stringify(args));
    const target = join(scratch(), "hf");
    const { notes } = await converted(source, target);
    expect(sorted(hashes(target))).toEqual(sorted(one.toHf));
    expect(notes.join()).toContain("config.json was made from");
    const made = JSON.parse(readFileSync(join(target, "config.json"), "utf8"));
    expect([made.model_type, made.dtype]).toEqual([family, "bfloat16"]);
    await converted(target, join(scratch(), "back"), { to: "torchtitan-0.2" });
  });

  const moe = (fields: Readonly<Record<string, unknown>>) => ({
    ...args,
    moe_args: { ...Object(args.moe_args), ...fields },
  });
  test.each([
    [moe({ score_before_experts: undefined }), '"moe_args.score_before_experts" is nothing'],
    [moe({ score_func: "tanh" }), '"moe_args.score_func" is "tanh"'],
    [moe({ gate_bias: family !== "gpt_oss" }), '"moe_args.gate_bias"'],
    [moe({ num_experts: 0 }), '"moe_args.num_experts" must be a positive integer'],
    [{ ...args, n_heads: "six" }, '"n_heads"'],
    [{ ...args, moe_args: undefined }, `"model_type" must be "${family}"`],
    [{ layers: [], moe_args: {} }, `"model_type" must be "${family}"`],
  ])("%# is refused by the name of its field", (json, message) => {
    expect(refusal(() => open(json))).toContain(message);
  });
});

test("what HF has no place for is refused", () => {
  const open = (family: string, fields: Readonly<Record<string, unknown>>, moe: Readonly<Record<string, unknown>>) => {
    const args = { ...ARGS[family], ...fields };
    const adapter = adapters.find((one) => one.family === family)!;
    return refusal(() => adapter.open({ ...args, moe_args: { ...Object(args.moe_args), ...moe } }, "params.json"));
  };
  expect(open("qwen3_moe", { moe_enabled: false }, {})).toContain("the dense family");
  expect(open("qwen3_moe", { qk_norm: false }, {})).toContain('"qk_norm"');
  expect(open("qwen3_moe", {}, { num_shared_experts: 1 })).toContain('"moe_args.num_shared_experts"');
  expect(open("qwen3_moe", {}, { route_scale: 2 })).toContain('"moe_args.route_scale"');
  expect(open("gpt_oss", {}, { num_expert_groups: 2 })).toContain('"moe_args.num_expert_groups"');
  expect(open("gpt_oss", {}, { route_norm: false })).toContain('"moe_args.route_norm"');
  expect(open("deepseek_v3", {}, { num_shared_experts: 0 })).toContain('"moe_args.num_shared_experts"');
});
