// The programs of docs/library.md as they are written, in a folder that has nothing but the package and the checkpoints they name.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FIXTURES, fixture } from "../helpers/fixtures.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const page = (name: string) => readFileSync(join(root, "docs", name), "utf8");
const programs = new Map(
  [...page("library.md").matchAll(/^```js (\S+)\n(.*?)^```$/gms)].map(([, name, code]) => [name!, code!]),
);

let folder = "";

beforeAll(() => {
  if (!existsSync(join(root, "dist/src/index.js"))) throw new Error("dist/ is not built: npm run build");
  folder = mkdtempSync(join(tmpdir(), "convert-checkpoint-library-"));
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, "@types"), { recursive: true });
  symlinkSync(root, join(modules, "convert-checkpoint"));
  symlinkSync(join(root, "node_modules/@types/node"), join(modules, "@types/node"));
  cpSync(join(FIXTURES, "demo/native"), join(folder, "step-1000"), { recursive: true });
  cpSync(join(FIXTURES, "demo/hf"), join(folder, "Llama-demo"), { recursive: true });
  cpSync(fixture("hf_dense/olmo2").hf, join(folder, "OLMo-2"), { recursive: true });
  const plugin = [...page("add-a-family.md").matchAll(/^```js olmo2\.mjs\n(.*?)^```$/gms)].map(([, code]) => code);
  writeFileSync(join(folder, "olmo2.mjs"), plugin.join("\n"));
  for (const [name, code] of programs) writeFileSync(join(folder, name), code);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const node = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
  return { status, stdout, stderr };
};

/** stdout of a program of the page. */
function run(name: string, exitCode = 0): string {
  const { status, stdout, stderr } = node(name);
  expect(status, stderr).toBe(exitCode);
  return stdout;
}

const read = (name: string) => readFileSync(join(folder, name), "utf8");

// In the order of the page: `my-model` is what convert.mjs writes.
describe("docs/library.md", () => {
  test("has no other programs", () => {
    expect([...programs.keys()]).toEqual(
      ["inspect", "convert", "check", "diff", "parity", "plugin", "errors"].map((name) => `${name}.mjs`),
    );
  });

  test("inspect.mjs", () => {
    expect(run("inspect.mjs")).toBe(
      "llama3 in layout torchtitan, as dcp: 541536 parameters\nCONFIG_MISSING: give it with --config PATH\n",
    );
  });

  test("convert.mjs", () => {
    const lines = run("convert.mjs").trim().split("\n");
    expect(lines[0]).toBe("torchtitan → hf: 39 tensors, 39 cast");
    const files = lines.slice(1).filter((line) => !line.startsWith("note: "));
    expect(files.map((line) => line.split("  ")[1])).toContain("model.safetensors");
    for (const line of files) expect(line).toMatch(/^[0-9a-f]{64} {2}\S+$/);
    expect(JSON.parse(read("my-model/config.json")).model_type).toBe("llama");
  });

  test("check.mjs", () => {
    expect(run("check.mjs")).toBe("pass: 39 tensors\npass: 39 tensors\n");
  });

  test("diff.mjs", () => {
    const [first, ...rest] = run("diff.mjs").split("\n");
    expect(first).toBe("fail: 39 of 39 tensors differ");
    expect(rest.join("")).toMatch(/kind: 'dtype'/);
  });

  test("parity.mjs", () => {
    const text = run("parity.mjs");
    expect(text).toMatch(/^pass \d+ true$/m);
    expect(text).toMatch(/\nthe same on this input, under the config given; on 13 tokens alone: mean KL [^\n]+\n+$/);
    expect(text).toMatch(/^Likeliest next tokens.*\n.*\n".+" \(\d+\)/m);
    expect(read("parity.html")).toMatch(/^<!doctype html>/i);
    expect(read("parity.html")).toContain("the same on this input, under the config given");
  });

  test("plugin.mjs", () => {
    const text = run("plugin.mjs");
    expect(text).toMatch(/^\{\n {2}family: 'olmo2',/);
    expect(text).toMatch(/\nolmo2 hf\n$/);
  });

  test("errors.mjs", () => {
    expect(run("errors.mjs", 3)).toMatch(
      /^CONFIG_MISSING: step-1000: no config.*\nhelp: give it with --config PATH: .*\n$/,
    );
    expect(read("junit.xml")).toContain("CONFIG_MISSING");
  });

  test("all of them are of the types that the package ships", { timeout: 300_000 }, () => {
    const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
    const strict = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--types", "node"];
    const wrong = `
      import { adapters, diff, inspect, openCheckpoint, openModel, roundtrip, runParity, validate } from "convert-checkpoint";
      import about from "convert-checkpoint/package.json" with { type: "json" };
      const checkpoint = openCheckpoint("a");
      const model = openModel(checkpoint, { adapters });
      inspect("a", { adapters });
      inspect(model, { adapters });
      diff(model, model, { a: { adapters }, b: { adapters } });
      openModel("a", { adapters });
      openModel(checkpoint, {});
      validate(checkpoint);
      roundtrip("a");
      runParity({ a: checkpoint });
      openCheckpoint(checkpoint);
      about.version satisfies number;
    `;
    writeFileSync(join(folder, "wrong.mts"), wrong);
    const json = ["--resolveJsonModule", "--allowJs", "--checkJs"];
    const { stdout } = node(tsc, ...strict, ...json, "wrong.mts", ...[...programs.keys()]);
    const errors = stdout.split("\n").filter((line) => line.includes("error TS"));
    const lines = wrong.split("\n").map((line) => line.trim());
    const refused = errors.map((line) => (/^wrong\.mts\((\d+),/.exec(line) ? lines[Number(RegExp.$1) - 1] : line));
    expect(refused).toEqual(lines.slice(5, -1).filter((line) => line !== ""));
  });
});
