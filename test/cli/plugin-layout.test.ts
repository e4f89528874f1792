// A plugin whose only layout has a name that no built-in family knows: every command takes it, parity too.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { f32, writeSafetensors } from "../helpers/checkpoints.ts";
import { scratch } from "../helpers/scratch.ts";
import { run } from "./command.ts";

/** One linear map behind the embedding; `flip` transposes it in the graph of the native side alone. */
const plugin = (flip = false) => `
const forward = (embed, middle, head, flip) => function* (op, weight, { ids_T }) {
  const x_TD = op.gather(weight(embed), ids_T);
  yield { name: "embed", value: x_TD };
  const w_DD = weight(middle);
  const y_TD = op.linear(x_TD, flip ? op.permute(w_DD, [1, 0]) : w_DD);
  yield { name: "middle", value: y_TD };
  return op.linear(y_TD, weight(head));
};
export default ({ defineFamily, rename }) => defineFamily({
  family: "tiny", modelTypes: ["tiny"], flavours: ["dense"], modalities: ["text"], sources: [],
  probes: [{ model_type: "tiny" }],
  parse: () => ({ v: 11, d: 4 }),
  facts: ({ v }) => ({ vocabSize: v, maxPositions: 600, dtype: null }),
  axes: ({ v, d }) => ({ v, d, D: d }),
  math: (config) => config,
  hfConfig: (_, json) => json,
  hf: { graph: () => forward("model.embed.weight", "model.middle.weight", "lm_head.weight", false) },
  layouts: [{
    name: "megatron", trainer: "megatron",
    rules: () => [
      rename("embedding.word_embeddings.weight", "model.embed.weight", "v d"),
      rename("decoder.middle.weight", "model.middle.weight", "D d"),
      rename("output_layer.weight", "lm_head.weight", "v d"),
    ],
    graph: () => forward("embedding.word_embeddings.weight", "decoder.middle.weight", "output_layer.weight", ${flip}),
  }],
});`;

let [directory, hf, native, adapter] = ["", "", "", ""];

beforeEach(async () => {
  directory = scratch();
  [hf, native, adapter] = ["hf", "native", "tiny.mjs"].map((name) => join(directory, name)) as [string, string, string];
  writeFileSync(adapter, plugin());
  const tensor = (rows: number, seed: number) => f32([rows, 4], (i) => Math.sin(seed + 3 * i));
  const state = [["model.embed.weight", tensor(11, 1)] as const, ["model.middle.weight", tensor(4, 2)] as const];
  writeSafetensors(hf, new Map([...state, ["lm_head.weight", tensor(11, 3)]]));
  writeFileSync(join(hf, "config.json"), '{ "model_type": "tiny" }');
  expect((await run(hf, native, "--adapter", adapter, "--quiet")).code).toBe(0);
});

describe("a plugin whose one layout is megatron", () => {
  it("is converted to it, recognised, validated and brought back", async () => {
    const { json } = await run("inspect", native, "--json", "--adapter", adapter);
    expect(json).toMatchObject({ family: "tiny", layout: "megatron", problems: [] });
    for (const command of ["validate", "roundtrip"])
      for (const path of [hf, native]) expect((await run(command, path, "--adapter", adapter)).code).toBe(0);
    expect((await run("diff", native, hf, "--adapter", adapter)).code).toBe(0);
  });

  it.each([
    ["native against hf", () => [native, hf]],
    ["hf against native", () => [hf, native]],
    ["hf against itself", () => [hf, hf]],
  ])("parity of %s passes", async (_, paths) => {
    const { code, json } = await run("parity", ...paths(), "--backend", "cpu", "--json", "--adapter", adapter);
    expect([code, json.verdict, json.metrics.klMeanNats]).toEqual([0, "pass", 0]);
    for (const side of [json.a, json.b]) expect(side.layout).toMatch(/^(hf|megatron)$/);
  });

  it("a fault in its graph fails, and its weights are looked at in search of the cause", async () => {
    const faulty = join(directory, "faulty.mjs");
    writeFileSync(faulty, plugin(true));
    const { code, json } = await run("parity", native, hf, "--backend", "cpu", "--json", "--adapter", faulty);
    expect([code, json.verdict, json.firstDivergence.tap]).toEqual([1, "fail", "middle"]);
  });
});
