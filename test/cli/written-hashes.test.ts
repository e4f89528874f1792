// A report of `convert` against the files that it wrote, as whoever uploads them has them.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { convert } from "../../src/convert/convert.ts";
import { planConversion } from "../../src/convert/plan.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import type { WrittenFile } from "../../src/output/execute.ts";
import { seal } from "../../src/verify/identity/seal.ts";
import { opened } from "../helpers/checkpoints.ts";
import { encodedCases, FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";
import { run } from "./command.ts";

const split = join(FIXTURES, "llama3/split");
const [native, hf] = [join(split, "native"), join(split, "hf")];
const hashOf = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

const filesOf = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

function expectHashes(files: readonly WrittenFile[], pathOf: (name: string) => string): void {
  for (const { name, sha256 } of files) expect(sha256, name).toBe(hashOf(pathOf(name)));
}

describe("files of convert's document have the SHA-256 of what is on disk", () => {
  const [encoded] = encodedCases;
  it.each<[string, readonly string[], RegExp]>([
    ["safetensors in shards", [native, "--config", hf, "--max-shard-size", "100kB"], /^model-0000[1-9]-of-/],
    ["DCP of two ranks, a config and the record", [hf, "--ranks", "2"], /^__1_0\.distcp$/],
    ["scales, beside what was decoded", [encoded!.hf], /scales\.safetensors$/],
    ["a folder of .pt", [hf, "--to", "torchtitan", "--format", "pt"], /\.pt$/],
  ])("%s", async (_, [source, ...options], expected) => {
    const target = join(scratch(), "target");
    const { json } = await run("convert", source!, target, ...options, "--no-fsync", "--json");
    expect(json.files.map(({ name }: WrittenFile) => join(target, name)).toSorted()).toEqual(
      filesOf(target).toSorted(),
    );
    expect(json.files.some(({ name }: WrittenFile) => expected.test(name))).toBe(true);
    expectHashes(json.files, (name) => join(target, name));
  });

  it.each(["one.pt", "one.safetensors"])("%s", async (name) => {
    const target = join(scratch(), name);
    const { json } = await run("convert", hf, target, "--no-fsync", "--json");
    expect(json.files).toMatchObject([{ name, sha256: hashOf(target) }]);
    expect(json.configs).toEqual({ source: expect.objectContaining({ path: join(hf, "config.json") }) });
  });

  it("of init, too", async () => {
    const target = join(scratch(), "target");
    const { json } = await run("init", hf, target, "--no-fsync", "--json");
    expectHashes(json.files, (name) => join(target, name));
  });
});

describe("reports of convert", () => {
  it("show the hashes, whatever their format", async () => {
    const [target, reports] = [join(scratch(), "target"), scratch()];
    const written = ["a.md", "a.html", "a.json"].map((name) => join(reports, name));
    const { stdout } = await run("convert", hf, target, "--no-fsync", ...written.flatMap((file) => ["--report", file]));
    for (const file of filesOf(target)) {
      for (const report of written) expect(readFileSync(report, "utf8"), file).toContain(hashOf(file));
      expect(stdout).toContain(hashOf(file));
    }
  });

  it("take no time of a run that has none", async () => {
    const { stdout } = await run("convert", hf, join(scratch(), "target"), "--no-fsync");
    expect(stdout).toMatch(/^name +bytes +xxh64$/m);
    expect(stdout).not.toContain("sha256");
  });
});

test("what a killed run had written is hashed with the rest", async () => {
  for (const options of [{}, { to: "hf", format: "safetensors", maxShardSize: 20_000 }] as const) {
    const target = join(scratch(), "target");
    const source = openCheckpoint(hf);
    const plan = () => planConversion(source, target, { adapters, sha256: true, ...options });
    const stop = new AbortController();
    const onProgress = ({ label, done }: { label: string; done: number }) => {
      if (label === "writing" && done > 40_000) stop.abort();
    };
    let kept = 0;
    const onKept = ({ bytes }: { bytes: number }) => {
      kept = bytes;
    };
    await expect(convert(plan(), { resume: true, onProgress, onKept, signal: stop.signal })).rejects.toThrow();
    if ("to" in options) expect(kept).toBeGreaterThan(0);
    const { files } = await convert(plan(), { resume: true });
    source.close();
    expectHashes(files, (name) => join(target, name));
  }
});

describe("configs of convert's document", () => {
  const mathematics = async (path: string) =>
    (await opened(path, (checkpoint) => seal(checkpoint, { adapters }))).seal.config?.sha256;

  it.each<[string, readonly string[]]>([
    ["as it was", [hf]],
    ["with another dtype", [hf, "--dtype", "bf16", "--to", "hf", "--format", "safetensors"]],
    ["made from a trainer's", [join(FIXTURES, "meta/llama3")]],
  ])("have the target's, %s", async (_, [source, ...options]) => {
    const target = join(scratch(), "target");
    const { json } = await run("convert", source!, target, ...options, "--no-fsync", "--json");
    const path = join(target, "config.json");
    expect(json.configs).toMatchObject({
      source: { path: expect.stringContaining(source!), mathematics: expect.any(String) },
      target: { path, sha256: hashOf(path), mathematics: await mathematics(target) },
    });
  });
});
