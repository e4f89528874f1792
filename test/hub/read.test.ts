// Commands on `hf://…`, against a Hub on this machine.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { run } from "../cli/command.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { hubEnvironment } from "../helpers/hub/environment.ts";
import { filesOf } from "../helpers/hub/files.ts";
import { Hub } from "../helpers/hub/start.ts";
import { scratch } from "../helpers/scratch.ts";

const HF = join(FIXTURES, "demo/hf");
let hub: Hub;
let commit: string;

beforeAll(async () => {
  hub = await Hub.start();
  commit = await hub.put("acme/demo", { ...filesOf(HF), ...filesOf(join(FIXTURES, "demo/native"), "step-1") });
});
afterAll(() => hub.stop());
beforeEach(async () => {
  hubEnvironment({ HF_ENDPOINT: hub.url });
  await hub.faults();
  await hub.forget();
});

test("inspect says of a repository what it says of its files on disk", async () => {
  const there = await run("inspect", "hf://acme/demo", "--json");
  expect(there.stderr).toBe("");
  expect(there.code).toBe(0);
  const here = await run("inspect", HF, "--json");
  expect(there.json.tensors).toEqual(here.json.tensors);
  expect(there.json.problems).toEqual(here.json.problems);
});

test("a target is on disk", async () => {
  const { code, stderr } = await run("convert", HF, "hf://acme/there");
  expect(code).toBe(2);
  expect(stderr).toContain("error[TARGET_ADDRESS]");
});

test("convert writes the same bytes as from disk", async () => {
  const target = scratch();
  const there = await run("convert", "hf://acme/demo", join(target, "there"));
  expect(there.stderr).toBe("");
  expect(there.code).toBe(0);
  await run("convert", HF, join(target, "here"));
  const read = (name: string) => readFileSync(join(target, name)).toString("base64");
  expect(read("there/__0_0.distcp")).toBe(read("here/__0_0.distcp"));
  expect(read("there/.metadata")).toBe(read("here/.metadata"));
  const { from } = JSON.parse(readFileSync(join(target, "there/convert-checkpoint.json"), "utf8"));
  expect(from.source).toBe(`hf://acme/demo@${commit}`);
});
