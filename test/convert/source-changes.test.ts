// A source that changes: between two runs of one conversion, or between plan and end.
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { EnvironmentError } from "../../src/base/errors.ts";
import { type ConvertOptions, convert } from "../../src/convert/convert.ts";
import { type ConversionOptions, planConversion } from "../../src/convert/plan.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { homeOf } from "../../src/output/home.ts";
import { readState, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { filesBelow, MemoryFolder } from "../helpers/memory-folder.ts";
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

async function run(
  path: string,
  target: string,
  options: ConvertOptions = {},
  between: () => void = () => undefined,
  more: Partial<ConversionOptions> = {},
) {
  const checkpoint = openCheckpoint(path);
  try {
    const plan = planConversion(checkpoint, target, { adapters, ...more });
    between();
    return await convert(plan, { fsync: false, ...options });
  } finally {
    checkpoint.close();
  }
}

/** Stops a run with its files written, as a signal does, and leaves them to be continued. */
async function stopped(path: string, target: string, more: Partial<ConversionOptions> = {}): Promise<void> {
  const abort = new AbortController();
  const onProgress = ({ label }: { label: string }) => label === "writing" && abort.abort(new Error("stopped"));
  await expect(run(path, target, { resume: true, signal: abort.signal, onProgress }, undefined, more)).rejects.toThrow(
    "stopped",
  );
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

/** Changes one byte of a file, its time left to the clock or kept. */
function overwrite(path: string, { keepTime = false } = {}): void {
  const { atime, mtime } = statSync(path);
  const bytes = readFileSync(path);
  bytes[bytes.length - 1]! ^= 1;
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, 0);
  closeSync(fd);
  if (keepTime) utimesSync(path, atime, mtime);
}

/** A copy of the source as torch saves it. */
async function asDcp(folder: string): Promise<string> {
  const path = join(scratch(), "dcp");
  await run(folder, path);
  return path;
}

describe("weights that are overwritten in place after the plan", () => {
  it.each([
    ["safetensors", async (folder: string) => folder, /model-00002-of-.*safetensors$/],
    ["dcp", asDcp, /\.distcp$/],
    ["pt", async (folder: string) => converted(folder, join(scratch(), "model.pt"), { to: "raw" }), /model\.pt$/],
  ])("are noticed in %s, by name, and what was made of them is not kept", async (_, make, file) => {
    const made = await make(source());
    const path = typeof made === "string" ? made : made.to.path;
    const place = statSync(path).isDirectory() ? path : dirname(path);
    const name = readdirSync(place).find((each) => file.test(each))!;
    const target = join(scratch(), "out");
    const options = path.endsWith(".pt") ? { to: "raw" } : {};
    const changing = run(path, target, { resume: true }, () => overwrite(join(place, name)), options);
    await expect(changing).rejects.toMatchObject({
      code: "FILE_CHANGED",
      exitCode: 3,
      message: expect.stringMatching(name),
    });
    expect(readdirSync(dirname(target))).toEqual([]);
  });
});

it("weights that are replaced under their name, or deleted, are read to the end as they were", async () => {
  const [folder, target] = [source(), join(scratch(), "out")];
  const expected = await asDcp(folder);
  const between = () => {
    const shards = readdirSync(folder).filter((name) => name.endsWith(".safetensors"));
    cpSync(join(folder, shards[0]!), join(folder, "new"));
    overwrite(join(folder, "new"));
    renameSync(join(folder, "new"), join(folder, shards[0]!));
    rmSync(join(folder, shards[1]!));
  };
  await run(folder, target, {}, between);
  expect(readFileSync(join(target, "__0_0.distcp")).equals(readFileSync(join(expected, "__0_0.distcp")))).toBe(true);
});

it.each(["config.json", INDEX])("%s that changes after the plan stops the run", async (name) => {
  const [folder, target] = [source(), join(scratch(), "out")];
  const between = () => utimesSync(join(folder, name), 1, 1);
  await expect(run(folder, target, {}, between)).rejects.toMatchObject({
    code: "FILE_CHANGED",
    message: expect.stringContaining(name),
  });
});

describe("--resume refuses a source that has size and time of the former one, but", () => {
  it.each([
    [
      "is another file",
      (path: string) => {
        cpSync(path, `${path}.new`, { preserveTimestamps: true });
        const { atime, mtime } = statSync(path);
        overwrite(`${path}.new`, { keepTime: true });
        renameSync(`${path}.new`, path);
        utimesSync(path, atime, mtime);
      },
    ],
    [
      "has another header",
      (path: string) => {
        const { atime, mtime } = statSync(path);
        const bytes = readFileSync(path);
        const at = bytes.indexOf('"format":"pt"') + '"format":"'.length;
        const fd = openSync(path, "r+");
        writeSync(fd, "tf", at);
        closeSync(fd);
        utimesSync(path, atime, mtime);
      },
    ],
  ])("%s", async (_, change) => {
    // As one file of the same keys, without a record that would tell of the header.
    const [folder, target, more] = [source(), join(scratch(), "out.pt"), { to: "raw" }];
    const shard = join(folder, readdirSync(folder).find((name) => name.includes("-00002-of-"))!);
    utimesSync(shard, 1000, 1000);
    await stopped(folder, target, more);
    change(shard);
    expect(statSync(shard).mtimeMs).toBe(1_000_000);
    const resumed = run(folder, target, { resume: true }, undefined, more);
    await expect(resumed).rejects.toMatchObject({ code: "PARTIAL_OF_ANOTHER_PLAN" });
  });
});

it("a companion that changes or goes costs the companion alone: the weights are kept, with and without --resume", async () => {
  for (const change of [(path: string) => writeFileSync(path, "{}"), (path: string) => rmSync(path)]) {
    const [folder, target] = [source(), join(scratch(), "out")];
    const onKept = vi.fn();
    const between = () => change(join(folder, "generation_config.json"));
    await expect(run(folder, target, { onKept }, between)).rejects.toMatchObject({ exitCode: 3 });
    expect(onKept.mock.calls[0]?.[0].bytes).toBeGreaterThan(100_000);
    const weights = join(homeOf(target), "out/__0_0.distcp");
    const { ino } = statSync(weights);
    await run(folder, target, { resume: true });
    expect(statSync(join(target, "__0_0.distcp")).ino).toBe(ino);
    expect(existsSync(join(target, "generation_config.json"))).toBe(existsSync(join(folder, "generation_config.json")));
  }
});

it("a companion that cannot be read stops the plan", () => {
  const refuse = (name: string) => {
    if (name === "generation_config.json") throw new EnvironmentError("FILE_UNREADABLE", name, { help: "" });
  };
  const checkpoint = openCheckpoint(new MemoryFolder("repo://model", filesBelow(source()), refuse).at());
  expect(() => planConversion(checkpoint, "out", { adapters })).toThrow("generation_config.json");
});

it("a value that a cast makes infinite is refused by a continued run, too", async () => {
  const [folder, target] = [join(scratch(), "source"), join(scratch(), "out")];
  const state = readState(HF);
  const [key, first] = [...state].find(([, { dtype }]) => dtype === "BF16")!;
  first.bytes.set([0x80, 0x7e], 0); // 2^126 in BF16
  state.set(key, first);
  writeSafetensors(folder, state, { config: join(HF, "config.json") });
  for (let times = 0; times < 3; times += 1) {
    const casting = run(folder, target, { resume: true }, undefined, { dtype: ["f16"] });
    await expect(casting).rejects.toMatchObject({ code: "CAST_OVERFLOW" });
  }
});
