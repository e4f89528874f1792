// Qwen3-VL of Megatron Bridge: its graph against Megatron Bridge's own logits and against Hugging Face's files, with both vision
// towers, and faults that have to show.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { InputError } from "../../../src/base/errors.ts";
import { runParity } from "../../../src/parity/parity.ts";
import { readState, writeSafetensors } from "../../helpers/checkpoints.ts";
import { judged } from "../../helpers/judged.ts";
import { differencesOf, layoutOf, runBy } from "../../helpers/layouts.ts";
import { familyOf, fixtureCase, hfSide, mutated, nativeSide, type TestModel } from "../../helpers/models.ts";
import { scratch } from "../../helpers/scratch.ts";
import { rearranged } from "../../helpers/vision.ts";

const [DENSE, MOE] = ["qwen3_vl/megatron", "qwen3_vl_moe/megatron-tied-bf16"] as const;
const given = (name: string) => ({ kind: "inputs", file: fixtureCase(name).inputs ?? "" }) as const;

/** With the mergers' GELU as transformers has it. */
const exact = (side: TestModel): TestModel => ({
  ...side,
  layout: runBy(side.layout, differencesOf(side.layout).at(-1)!.undone),
});

const compare = (a: TestModel, name: string) =>
  runParity({ a, b: hfSide(name), backend: "cpu", input: given(name), maxKlNats: 1e-13, localise: true });

const folders = [DENSE, MOE].flatMap((name) => Object.keys(fixtureCase(name).natives).map((folder) => [name, folder]));

test.each(folders)("%s, %s: logits are Hugging Face's, and every tensor counts", async (name, folder) => {
  const report = await compare(exact(nativeSide(name!, {}, folder)), name!);
  expect(report).toMatchObject({ verdict: "pass", firstDivergence: null, unusedTensors: [] });
});

test("of the tower that Hugging Face wrote, the mergers have its GELU without being told", async () => {
  const side = nativeSide(DENSE, {}, "native-0.3");
  expect(await compare(side, DENSE)).toMatchObject({ verdict: "pass", firstDivergence: null });
});

test.each([DENSE, MOE])("%s: logits are Megatron Bridge's own, positions derived as it derives them", async (name) => {
  const { nativeGolden, inputs } = fixtureCase(name);
  const without = new Map([...readState(inputs ?? "")].filter(([key]) => key !== "position_ids"));
  const file = join(writeSafetensors(scratch(), without), "model.safetensors");
  for (const input of [given(name), { kind: "inputs", file } as const]) {
    const { metrics } = await judged({ a: nativeSide(name), golden: nativeGolden ?? "", input });
    expect(metrics.klMeanNats).toBeLessThan(1e-13);
  }
});

describe("a fault in the weights fails where it is", () => {
  const native = nativeSide(DENSE);
  const block = "vision_model.decoder.layers";

  test.each([
    // Two blocks of two heads: query, key and value of each, put in the order that Hugging Face has them in.
    [
      `${block}.self_attention.linear_qkv.weight`,
      12,
      (i: number) => 6 * Math.floor(i / 6) + [0, 3, 1, 4, 2, 5][i % 6]!,
      "vision.0",
    ],
    [`${block}.mlp.linear_fc1.layer_norm_bias`, 2, (i: number) => 1 - i, "vision.0"],
    ["vision_model.decoder.deepstack_merger_list.linear_fc1.weight", 2, (i: number) => 1 - i, "vision.0.deepstack"],
    ["vision_model.merger.linear_fc2.bias", 14, (i: number) => 13 - i, "vision.merged"],
    ["language_model.decoder.layers.mlp.linear_fc1.weight", 4, (i: number) => i ^ 1, "layers.0.ffn"],
  ] as const)("%s", async (key, parts, order, tap) => {
    const side = mutated(native, { [key]: rearranged(native.checkpoint, key, parts, order) });
    expect(await compare(exact(side), DENSE)).toMatchObject({ verdict: "fail", firstDivergence: { tap } });
  });
});

test("what Megatron Bridge has no argument for has no graph", () => {
  const { text_config, vision_config } = JSON.parse(JSON.stringify(familyOf(fixtureCase(DENSE)).hfConfig()));
  const scaled = { ...text_config.rope_parameters, rope_type: "yarn", factor: 4, original_max_position_embeddings: 64 };
  for (const change of [
    { text_config: { ...text_config, rope_parameters: scaled } },
    { vision_config: { ...vision_config, rope_parameters: { rope_type: "axial", rope_theta: 500 } } },
  ]) {
    const family = familyOf(fixtureCase(DENSE), change);
    expect(() => layoutOf(family, "megatron").forward()).toThrow(InputError);
    expect(() => layoutOf(family, "megatron").forward()).toThrow(expect.objectContaining({ code: "NO_GRAPH" }));
  }
});

test("arguments of a run make no config, whose decoder's fields lie in an object of their own", () => {
  const { configOf } = layoutOf(familyOf(fixtureCase(DENSE)), "megatron");
  const args = { num_layers: 2, hidden_size: 14, untie_embeddings_and_output_weights: true, padded_vocab_size: 42 };
  expect(configOf?.(args, "common.pt", ["language_model.output_layer.weight"])).toEqual({
    fields: { tie_word_embeddings: false },
    whole: null,
    isPadded: true,
    vocabulary: null,
  });
  expect(() => configOf?.({ ...args, rotary_interleaved: true }, "common.pt", [])).toThrow(InputError);
});
