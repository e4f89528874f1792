// What lies beside the weights is text of a sane size in a regular file, or refused at once: no pipe is waited for, no
// device read, no file taken into memory that no model has.
import { execFileSync, spawn } from "node:child_process";
import { cpSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { fixtureCase } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";
import { run } from "./command.ts";

const HF = fixtureCase("llama3/bf16").hf;
const INDEX = "model.safetensors.index.json";
/** Whoever waits for a pipe, waits so long. */
const WAIT_MS = 20_000;

/** A copy of a Hugging Face folder, with something else under one of its names. */
function copyWith(name: string, put: (path: string) => void): string {
  const folder = join(scratch(), "source");
  cpSync(HF, folder, { recursive: true });
  rmSync(join(folder, name), { force: true });
  put(join(folder, name));
  return folder;
}

function pipe(path: string): void {
  execFileSync("mkfifo", [path]);
  // A reader gets an empty file after a while: then the test fails instead of waiting for ever.
  const writer = spawn("sh", ["-c", 'sleep "$1"; exec 3<>"$2"', "sh", `${WAIT_MS / 1e3}`, path], { stdio: "ignore" });
  onTestFinished(() => void writer.kill());
}

const zeros = (path: string) => symlinkSync("/dev/zero", path);

/** Sparse: it takes no room on the disk. */
function huge(path: string): void {
  writeFileSync(path, "");
  truncateSync(path, 600e6);
}

const BESIDE = ["config.json", "convert-checkpoint.json", INDEX];
const CASES = [
  ...BESIDE.map((name) => ["a pipe", name, pipe, "NOT_A_FILE"] as const),
  ...BESIDE.map((name) => ["/dev/zero", name, zeros, "NOT_A_FILE"] as const),
  ["600 MB", "config.json", huge, "TEXT_TOO_LARGE"] as const,
  ["600 MB", "convert-checkpoint.json", huge, "TEXT_TOO_LARGE"] as const,
  ["600 MB", INDEX, huge, "SAFETENSORS_INDEX_TOO_LARGE"] as const,
];

it.each(CASES)("%s as %s", async (_, name, put, code) => {
  const source = copyWith(name, put);
  const begin = performance.now();
  const ran = await run("convert", source, join(scratch(), "target"), "--quiet");
  expect(ran.stderr).toMatch(new RegExp(`^error\\[${code}\\]: .*${name.replaceAll(".", "\\.")}`));
  expect(ran.stderr.trimEnd().split("\n").at(-1)).toMatch(/^help: .{10,}/);
  expect(ran.code).toBe(3);
  expect(performance.now() - begin).toBeLessThan(WAIT_MS / 2);
});

it.each([
  ["a pipe", pipe, "NOT_A_FILE"],
  ["/dev/zero", zeros, "NOT_A_FILE"],
  ["a link to nothing", (path: string) => symlinkSync("nothing", path), "FILE_MISSING"],
])("%s as tokenizer.json, which goes along, is refused before anything is written", async (_, put, code) => {
  const source = copyWith("tokenizer.json", put);
  const { code: exit, stderr } = await run("plan", source);
  expect([exit, stderr]).toEqual([3, expect.stringMatching(new RegExp(`^error\\[${code}\\]: .*tokenizer\\.json`))]);
});

it.each([
  ["a pipe", "tokenizer.json", pipe, "NOT_A_FILE"],
  ["600 MB", "tokenizer.json", huge, "TEXT_TOO_LARGE"],
  ["600 MB", "tokenizer_config.json", huge, "TEXT_TOO_LARGE"],
])("%s as the prompt's %s", async (_, name, put, code) => {
  const source = copyWith(name, put);
  if (name !== "tokenizer.json") writeFileSync(join(source, "tokenizer.json"), "{}");
  const { code: exit, stderr } = await run("parity", source, source, "--prompt", "x", "--backend", "cpu");
  expect([exit, stderr]).toEqual([3, expect.stringMatching(new RegExp(`^error\\[${code}\\]: .*${name}`))]);
});

it("--config: a pipe and a folder without a config are refused, too", async () => {
  const [native, folder] = [fixtureCase("llama3/bf16").native, scratch()];
  pipe(join(folder, "given"));
  const ask = async (path: string) => (await run("plan", native, "--config", path)).stderr;
  expect(await ask(join(folder, "given"))).toMatch(/^error\[NOT_A_FILE\]: .*given/);
  expect(await ask(folder)).toMatch(/^error\[CONFIG_NOT_FOUND\]: .*config\.json: no such file/);
  expect(await ask(join(folder, "none.json"))).toMatch(/^error\[CONFIG_NOT_FOUND\]: .*none\.json: no such file/);
});

it("a config that is not UTF-8 is refused: its bytes would change on their way", async () => {
  const source = copyWith("config.json", (path) => writeFileSync(path, Buffer.from('{"_name":"f\xfcr"}', "latin1")));
  expect((await run("plan", source)).stderr).toMatch(/^error\[TEXT_NOT_UTF8\]: .*config\.json/);
});

it("a pipe in place of the weights was refused before, and still is", async () => {
  const source = copyWith("model.safetensors", pipe);
  expect((await run("inspect", source)).stderr).toMatch(/^error\[SAFETENSORS_NOT_A_FILE\]: .*model\.safetensors/);
  renameSync(join(source, "model.safetensors"), join(source, "model.pt"));
  expect((await run("inspect", source)).stderr).toMatch(/^error\[NOT_A_FILE\]: .*model\.pt/);
});
