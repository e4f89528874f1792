// A source that changes: between two runs of one conversion, or between plan and end.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { type ConvertOptions, convert } from "../../src/convert/convert.ts";
import { planConversion } from "../../src/convert/plan.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { readState, writeSafetensors } from "../helpers/checkpoints.ts";
import { filesBelow } from "../helpers/memory-folder.ts";
import { fixtureCase } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";

const HF = fixtureCase("llama3/bf16").hf;
const INDEX = "model.safetensors.index.json";

/** A sharded copy of the fixture. */
function source(): string {
  const folder = writeSafetensors(join(scratch(), "hf"), readState(HF), { maxShardSize: 20_000 });
  for (const name of ["config.json", "generation_config.json"]) cpSync(join(HF, name), join(folder, name));
  return folder;
}

async function run(path: string, target: string, options: ConvertOptions = {}, between: () => void = () => undefined) {
  const checkpoint = openCheckpoint(path);
  try {
    const plan = planConversion(checkpoint, target, { adapters });
    between();
    return await convert(plan, { fsync: false, ...options });
  } finally {
    checkpoint.close();
  }
}

/** Stops a run with its files written, as a signal does, and leaves them to be continued. */
async function stopped(path: string, target: string): Promise<void> {
  const abort = new AbortController();
  const onProgress = ({ label }: { label: string }) => label === "writing" && abort.abort(new Error("stopped"));
  await expect(run(path, target, { resume: true, signal: abort.signal, onProgress })).rejects.toThrow("stopped");
  expect(existsSync(target)).toBe(false);
}

/** Shards moved into a folder of their own, as the index may have them. */
function intoSubfolder(folder: string): void {
  const shards = readdirSync(folder).filter((name) => name.endsWith(".safetensors"));
  mkdirSync(join(folder, "w"));
  for (const name of shards) renameSync(join(folder, name), join(folder, "w", name));
  const index = readFileSync(join(folder, INDEX), "utf8");
  writeFileSync(join(folder, INDEX), index.replaceAll(': "model-', ': "w/model-'));
}

it.each([
  ["the folder", (folder: string) => folder, (_: string) => undefined],
  ["the index", (folder: string) => join(folder, INDEX), (_: string) => undefined],
  ["a folder whose index names a subfolder", (folder: string) => folder, intoSubfolder],
])("--resume notices a shard of another time, the source given as %s", async (_, pathOf, prepare) => {
  const folder = source();
  prepare(folder);
  const [path, target] = [pathOf(folder), join(scratch(), "out")];
  await stopped(path, target);
  const shard = [...filesBelow(folder).keys()].find((name) => name.includes("-00002-of-"))!;
  utimesSync(join(folder, shard), 1, 1);
  await expect(run(path, target, { resume: true })).rejects.toMatchObject({
    code: "PARTIAL_OF_ANOTHER_PLAN",
    exitCode: 3,
  });
});

it("--resume continues where nothing that is read has changed, whatever else came into the folder", async () => {
  const [folder, target] = [source(), join(scratch(), "out")];
  await stopped(join(folder, INDEX), target);
  writeFileSync(join(folder, "notes.txt"), "of the day");
  await run(join(folder, INDEX), target, { resume: true });
  expect(readdirSync(target)).toContain("__0_0.distcp");
});

it.each([
  ["grows", (path: string) => writeFileSync(path, `${readFileSync(path, "utf8")}\n`)],
  ["shrinks", (path: string) => writeFileSync(path, "{}")],
  ["is written again", (path: string) => utimesSync(path, 1, 1)],
])("a companion that %s after the plan stops the run, by name", async (_, change) => {
  const [folder, target] = [source(), join(scratch(), "out")];
  const between = () => change(join(folder, "generation_config.json"));
  await expect(run(folder, target, {}, between)).rejects.toMatchObject({
    code: "FILE_CHANGED",
    exitCode: 3,
    message: expect.stringContaining("generation_config.json"),
  });
  expect(existsSync(target)).toBe(false);
});

it("a companion of any size goes along as it is, so much of it at a time", async () => {
  const [folder, target] = [source(), join(scratch(), "out")];
  const bytes = Buffer.alloc(40_000_001, "tokens ");
  writeFileSync(join(folder, "tokenizer.json"), bytes);
  writeFileSync(join(folder, "merges.txt"), "");
  await run(folder, target);
  expect(readFileSync(join(target, "tokenizer.json")).equals(bytes)).toBe(true);
  expect(readFileSync(join(target, "merges.txt")).length).toBe(0);
});
