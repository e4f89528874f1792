// Weights of kinds that are known and not read: named by the config's word or by their keys, which are those that each
// library writes. The container is still anyone's.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import type { Dtype } from "../../src/base/dtype.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { diff } from "../../src/verify/diff.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { readState, type State, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const { hf } = fixture("llama3/split");
const q = "model.layers.0.self_attn.q_proj";

const put = (state: State, key: string, dtype: Dtype, shape: readonly number[], bytes: number) =>
  state.set(key, { dtype, shape, bytes: new Uint8Array(bytes) });

function place(edit: (state: State) => void, fields: object = {}): string {
  const state = readState(hf);
  edit(state);
  const folder = writeSafetensors(join(scratch(), "model"), state);
  const config = JSON.parse(readFileSync(join(hf, "config.json"), "utf8"));
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, ...fields }));
  return folder;
}

const opened = (path: string) => {
  const checkpoint = openCheckpoint(path);
  try {
    return openModel(checkpoint, { adapters });
  } finally {
    checkpoint.close();
  }
};

const method = (quant_method: string, more: object = {}) => ({ quantization_config: { quant_method, ...more } });

/** In place of the weight of q_proj. */
const coded = (...tensors: readonly [string, Dtype, readonly number[], number][]) => {
  return (state: State) => {
    state.delete(`${q}.weight`);
    for (const [end, dtype, shape, bytes] of tensors) put(state, `${q}.${end}`, dtype, shape, bytes);
  };
};

const GPTQ = coded(["qweight", "I32", [7, 54], 1512], ["qzeros", "I32", [1, 7], 28], ["g_idx", "I32", [54], 216]);
const NF4 = coded(
  ["weight", "U8", [1458, 1], 1458],
  ["weight.absmax", "F32", [46], 184],
  ["weight.quant_map", "F32", [16], 64],
  ["weight.quant_state.bitsandbytes__nf4", "U8", [80], 80],
);
const INT8 = coded(["weight", "I8", [54, 54], 2916], ["SCB", "F32", [54], 216]);

test.each<[string, (state: State) => void, object, RegExp]>([
  ["GPTQ", GPTQ, method("gptq"), /gptq/],
  ["GPTQ without its config", GPTQ, {}, /GPTQ/],
  ["GPTQ under a config of FP8", GPTQ, method("fp8"), /GPTQ/],
  ["AWQ", coded(["qweight", "I32", [54, 7], 1512], ["qzeros", "I32", [1, 7], 28]), {}, /AWQ/],
  ["bitsandbytes NF4", NF4, method("bitsandbytes", { bnb_4bit_quant_type: "nf4" }), /bitsandbytes \(nf4\)/],
  ["bitsandbytes NF4 without its config", NF4, {}, /bitsandbytes/],
  ["bitsandbytes int8", INT8, {}, /bitsandbytes/],
  ["bitsandbytes of old configs", INT8, { quantization_config: { load_in_8bit: true } }, /bitsandbytes/],
  [
    "FP8 with a scale a tensor",
    coded(["weight", "F8_E4M3", [54, 54], 2916], ["weight_scale", "BF16", [1], 2]),
    method("compressed-tensors", { format: "float-quantized" }),
    /compressed-tensors \(float-quantized\)/,
  ],
  [
    "the same, its config lost",
    coded(["weight", "F8_E4M3", [54, 54], 2916], ["weight_scale", "F32", [54, 1], 216]),
    {},
    /FP8/,
  ],
  [
    "NVFP4",
    coded(
      ["weight_packed", "U8", [54, 27], 1458],
      ["weight_scale", "F8_E4M3", [54, 4], 216],
      ["weight_global_scale", "F32", [1], 4],
    ),
    {},
    /NVFP4/,
  ],
  [
    "MXFP4 of compressed-tensors",
    coded(["weight_packed", "U8", [54, 27], 1458], ["weight_scale", "U8", [54, 2], 108]),
    {},
    /MXFP4/,
  ],
  [
    "MLX",
    coded(["weight", "U32", [54, 7], 1512], ["scales", "F16", [54, 1], 108], ["biases", "F16", [54, 1], 108]),
    {},
    /MLX/,
  ],
  [
    "torchao",
    coded(["_weight_qdata", "I8", [54, 54], 2916], ["_weight_scale", "F32", [54, 1], 216]),
    method("torchao"),
    /torchao/,
  ],
  ["quanto", coded(["weight._data", "I8", [54, 54], 2916], ["weight._scale", "F32", [54, 1], 216]), {}, /quanto/],
  ["one that only its config knows", coded(["weight", "I16", [54, 54], 5832]), method("new-method"), /new-method/],
])("quantised by %s", async (_, edit, fields, words) => {
  const path = place(edit, fields);
  expect(() => opened(path)).toThrow(
    expect.objectContaining({ code: "QUANTISED_UNSUPPORTED", message: expect.stringMatching(words) }),
  );
  const checkpoint = openCheckpoint(path);
  expect(inspect(checkpoint, { adapters })).toMatchObject({
    family: null,
    problems: [{ code: "QUANTISED_UNSUPPORTED" }],
  });
  expect((await diff(checkpoint, checkpoint, { a: { adapters }, b: { adapters } })).keys).toBe("raw");
  checkpoint.close();
  await converted(path, join(scratch(), "raw.pt"), { to: "raw" });
});

test("adapters: alone, and unmerged beside their base", () => {
  const lora = (state: State, at: string) => {
    put(state, `${at}.lora_A.default.weight`, "F32", [2, 54], 432);
    put(state, `${at}.lora_B.default.weight`, "F32", [54, 2], 432);
  };
  const renamed = (state: State) => {
    for (const [key, stored] of [...state]) {
      state.delete(key);
      state.set(`base_model.model.${key}`.replace(".q_proj.", ".q_proj.base_layer."), stored);
    }
    lora(state, `base_model.model.${q}`);
  };
  const unmerged = {
    code: "PEFT_UNMERGED",
    details: expect.objectContaining({ help: expect.stringContaining("merge_and_unload") }),
  };
  expect(() => opened(place(renamed))).toThrow(expect.objectContaining(unmerged));
  const alone = place((state) => {
    state.clear();
    lora(state, `base_model.model.${q}`);
  });
  expect(() => opened(alone)).toThrow(expect.objectContaining(unmerged));
});

test("what ZeRO-3 leaves of a model is no model, raw or not", async () => {
  const empty = place((state) => {
    for (const key of [...state.keys()]) put(state, key, "F32", [0], 0);
  });
  expect(() => opened(empty)).toThrow(expect.objectContaining({ code: "UNCONSOLIDATED" }));
  await expect(converted(empty, join(scratch(), "raw.pt"), { to: "raw" })).rejects.toMatchObject({
    code: "UNCONSOLIDATED",
    details: { help: expect.stringContaining("optim_states") },
  });
});

test.each<[string, string, RegExp]>([
  ["Megatron-core", "decoder.layers.self_attention.linear_qkv.weight", /Megatron Bridge/],
  ["Megatron-core", "model.decoder.layers.3.mlp.linear_fc1.weight", /Megatron Bridge/],
  ["litgpt", "transformer.h.0.attn.qkv.weight", /convert_from_litgpt/],
  ["OLMo-core", "model.blocks.0.attention.w_q.weight", /convert_checkpoint_to_hf/],
])("keys of %s", (whose, key, help) => {
  const path = place((state) => {
    state.clear();
    put(state, key, "F32", [2, 2], 16);
  });
  const error = {
    code: "LAYOUT_UNSUPPORTED",
    message: expect.stringContaining(whose),
    details: expect.objectContaining({ help: expect.stringMatching(help) }),
  };
  expect(() => opened(path)).toThrow(expect.objectContaining(error));
});
