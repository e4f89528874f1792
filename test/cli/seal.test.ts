// `seal` and `match` through the command line.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { flipped, readState, writeSafetensors } from "../helpers/checkpoints.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";
import { run } from "./command.ts";

const { hf, native } = fixture("llama3/split");

async function sealFile(): Promise<string> {
  const file = join(scratch(), "model.seal.json");
  expect(await run("seal", hf, file)).toMatchObject({ code: 0, stderr: "" });
  return file;
}

describe("seal", () => {
  test("prints the seal that it would write, and nothing else", async () => {
    const file = await sealFile();
    const { code, stdout } = await run("seal", hf);
    expect(code).toBe(0);
    expect(stdout.trim()).toBe(readFileSync(file, "utf8").trim());
    const { json } = await run("seal", native, "--config", hf, "--json");
    expect(json.seal).toEqual(JSON.parse(stdout));
    expect(json).toMatchObject({ verdict: "pass", root: json.seal.root, tensors: json.seal.tensors.length });
  });

  test("replaces a seal where --force says so, and nothing else ever", async () => {
    const file = await sealFile();
    const before = readFileSync(file);
    expect(await run("seal", hf, file)).toMatchObject({ code: 3, stdout: "" });
    expect((await run("seal", hf, file)).stderr).toMatch(/^error\[TARGET_EXISTS\]: .*\n(?:.*\n)*help: .*--force/);
    expect((await run("seal", hf, file, "--force")).code).toBe(0);
    expect(readFileSync(file)).toEqual(before);
    const notes = join(scratch(), "notes.txt");
    writeFileSync(notes, "mine");
    for (const target of [notes, scratch(), join(hf, "model.safetensors")]) {
      const { code, stderr } = await run("seal", hf, target, "--force");
      expect(stderr).toMatch(/^error\[TARGET_UNSAFE\]/);
      expect(code).toBe(3);
    }
    expect(readFileSync(notes, "utf8")).toBe("mine");
    expect((await run("seal", hf, join(scratch(), "no", "seal.json"))).stderr).toMatch(/^error\[NOT_FOUND\]/);
  });

  test("of a checkpoint without a config asks for one, and writes nothing", async () => {
    const file = join(scratch(), "seal.json");
    const { code, stderr } = await run("seal", native, file);
    expect(stderr).toMatch(/^error\[CONFIG_MISSING\]/);
    expect(code).toBe(3);
    expect(existsSync(file)).toBe(false);
  });
});

describe("match", () => {
  test("exits 0 for the model in another layout, without a config", async () => {
    const { code, json } = await run("match", native, await sealFile(), "--json");
    expect(code).toBe(0);
    expect(json).toMatchObject({ verdict: "pass", root: json.expectedRoot, differences: [], layout: "torchtitan" });
    expect(json.checks.at(-1)).toMatchObject({ status: "not checked" });
  });

  test("exits 1 for another, naming the tensor", async () => {
    const state = readState(hf);
    const key = "model.norm.weight";
    state.set(key, flipped(state.get(key)!));
    const mutant = writeSafetensors(join(scratch(), "mutant"), state, { config: join(hf, "config.json") });
    const { code, json } = await run("match", mutant, await sealFile(), "--json");
    expect(code).toBe(1);
    expect(json).toMatchObject({ verdict: "fail", differences: [{ key, kind: "values" }] });
    const { stdout } = await run("match", mutant, await sealFile());
    expect(stdout).toMatch(/NOT the model of the seal: 1 difference/);
  });

  test.each<[string, (file: string) => string]>([
    ["SEAL_NOT_FOUND", (file) => `${file}.not`],
    [
      "SEAL_NOT_FOUND",
      (file) => {
        mkdirSync(`${file}.d`);
        return `${file}.d`;
      },
    ],
    ["SEAL_MALFORMED", () => join(hf, "config.json")],
    [
      "SEAL_VERSION",
      (file) => {
        writeFileSync(file, readFileSync(file, "utf8").replace('"version": 1', '"version": "2"'));
        return file;
      },
    ],
  ])("exits 3 where the seal is none: %s", async (code, change) => {
    const found = await run("match", hf, change(await sealFile()));
    expect(found).toMatchObject({ code: 3, stdout: "" });
    expect(found.stderr).toContain(`error[${code}]`);
  });
});
