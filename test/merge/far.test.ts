// A merge from the Hub, and one in parts: the bytes of one run on files at hand.
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { run } from "../cli/command.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { hubEnvironment } from "../helpers/hub/environment.ts";
import { filesOf } from "../helpers/hub/files.ts";
import { Hub } from "../helpers/hub/start.ts";
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

test("parts of a merge are joined to the bytes of one run; a part without the adapter is of another plan", async () => {
  const [whole, target] = [join(scratch(), "whole"), join(scratch(), "parts")];
  const merge = ["--merge-adapter", ADAPTER, "--no-fsync"];
  expect(await run("convert", BASE, whole, ...merge)).toMatchObject({ code: 0 });
  expect(await run("convert", BASE, target, ...merge, "--part", "1/2")).toMatchObject({ code: 0 });
  const other = await run("convert", BASE, target, "--to", "hf", "--no-fsync", "--part", "2/2");
  expect([other.code, other.stderr]).toEqual([3, expect.stringContaining("error[PARTS_OF_ANOTHER_PLAN]")]);
  expect(await run("convert", BASE, target, ...merge, "--part", "2/2")).toMatchObject({ code: 0 });
  expect(await run("finalize", target, "--no-fsync")).toMatchObject({ code: 0 });
  expect([...filesAt(target)]).toEqual([...filesAt(whole)]);
});
