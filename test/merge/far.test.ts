// A merge from the Hub, and one in parts: the bytes of one run on files at hand.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { run } from "../cli/command.ts";
import { f32, writeSafetensors } from "../helpers/checkpoints.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { hubEnvironment } from "../helpers/hub/environment.ts";
import { filesOf } from "../helpers/hub/files.ts";
import { Hub } from "../helpers/hub/start.ts";
import { configOf, madeModel } from "../helpers/made-model.ts";
import { filesOf as filesAt } from "../helpers/parted.ts";
import { scratch } from "../helpers/scratch.ts";

const BASE = `${FIXTURES}llama3/biased/hf`;
const ADAPTER = `${FIXTURES}lora/llama3-patterns/adapter`;
let hub: Hub;

beforeAll(async () => {
  hub = await Hub.start();
  await hub.put("acme/base", filesOf(BASE));
  await hub.put("acme/lora", filesOf(ADAPTER));
});
afterAll(() => hub.stop());

const weights = (folder: string) => new Map(filesAt(folder)).get("model.safetensors");

test("base and adapter may be on the Hub: their commits stand in the record", async () => {
  hubEnvironment({ HF_ENDPOINT: hub.url, HF_HOME: scratch() });
  const [near, far] = [join(scratch(), "near"), join(scratch(), "far")];
  expect(await run("convert", BASE, near, "--merge-adapter", ADAPTER, "--no-fsync")).toMatchObject({ code: 0 });
  const made = await run("convert", "hf://acme/base", far, "--merge-adapter", "hf://acme/lora", "--no-fsync", "--json");
  expect(made).toMatchObject({ code: 0 });
  expect(made.json.merged.adapters[0]).toMatchObject({
    path: "hf://acme/lora",
    commit: expect.stringMatching(/^[0-9a-f]{40}$/),
  });
  expect(weights(far)).toEqual(weights(near));
  const checked = await run("check", far, "--base", "hf://acme/base", "--merge-adapter", "hf://acme/lora", "--json");
  expect([checked.code, checked.json.verdict]).toEqual([0, "pass"]);
});

test("parts of a merge are joined to what one run writes and tells; a part without the adapter is of another plan", async () => {
  const [whole, target] = [join(scratch(), "whole"), join(scratch(), "parts")];
  const merge = ["--merge-adapter", ADAPTER, "--no-fsync"];
  const atOnce = await run("convert", BASE, whole, ...merge, "--json");
  expect(await run("convert", BASE, target, ...merge, "--part", "1/2")).toMatchObject({ code: 0 });
  const other = await run("convert", BASE, target, "--to", "hf", "--no-fsync", "--part", "2/2");
  expect([other.code, other.stderr]).toEqual([3, expect.stringContaining("error[PARTS_OF_ANOTHER_PLAN]")]);
  expect(await run("convert", BASE, target, ...merge, "--part", "2/2")).toMatchObject({ code: 0 });
  const joined = await run("finalize", target, "--no-fsync", "--json");
  expect([joined.code, [...filesAt(target)]]).toEqual([0, [...filesAt(whole)]]);
  expect(atOnce.json.merged.tensors.length).toBeGreaterThan(0);
  expect(joined.json.merged).toEqual(atOnce.json.merged);
});

/** A model with a tensor of 2.4 MB, of which samples are not all, and an adapter of it. */
function cuttable(): { readonly base: string; readonly adapter: string } {
  const config = { ...configOf(`${FIXTURES}demo/hf`), vocab_size: 6144, num_hidden_layers: 1 };
  const value = (i: number) => Math.sin(i + 1);
  const factors = { A: [2, 96], B: [6144, 2] };
  const adapter = writeSafetensors(
    join(scratch(), "adapter"),
    new Map(
      Object.entries(factors).map(([x, shape]) => [`base_model.model.lm_head.lora_${x}.weight`, f32(shape, value)]),
    ),
  );
  writeFileSync(join(adapter, "adapter_config.json"), JSON.stringify({ peft_type: "LORA", r: 2, lora_alpha: 3 }));
  return { base: madeModel(join(scratch(), "base"), config), adapter: join(adapter, "model.safetensors") };
}

test("so are parts that cut tensors, and elements, none of which makes all of them", async () => {
  const { base, adapter } = cuttable();
  const [whole, target] = [join(scratch(), "whole"), join(scratch(), "parts")];
  const merge = ["--merge-adapter", adapter, "--to", "torchtitan", "--no-fsync", "--no-seal"];
  const atOnce = await run("convert", base, whole, ...merge, "--json");
  for (const part of ["5/5", "1/5", "3/5", "2/5", "4/5"]) await run("convert", base, target, ...merge, "--part", part);
  const joined = await run("finalize", target, "--no-fsync", "--json");
  expect(atOnce.json.merged.tensors).toMatchObject([{ key: "lm_head.weight", measured: { changed: 6144 * 96 } }]);
  expect(joined.json.merged).toEqual(atOnce.json.merged);
});
