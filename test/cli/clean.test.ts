// What killed runs left is listed by inspect and removed by clean, and nothing else is.
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { homeOf } from "../../src/output/home.ts";
import { appendClaim, ownClaim } from "../../src/output/journal.ts";
import { SMALLEST_SAFETENSORS } from "../helpers/checkpoints.ts";
import { scratch } from "../helpers/scratch.ts";
import { buildChild, killedBetween, runChild } from "../output/build-child.ts";
import { STEP } from "../output/execute-plan.ts";
import { run } from "./command.ts";

let tools: string;
let folder: string;
let target: string;
let home: string;

beforeAll(async () => {
  tools = fs.mkdtempSync(join(tmpdir(), "clean-tools-"));
  await buildChild(tools);
});
afterAll(() => fs.rmSync(tools, { recursive: true }));
beforeEach(() => {
  folder = scratch();
  target = join(folder, "target");
  home = homeOf(target);
});
afterEach(() => vi.restoreAllMocks());

/** Leaves half of an output. */
const killed = () => expect(runChild(tools, { target, bytes: STEP * 4, killAt: STEP * 3 }).signal).toBe("SIGKILL");

function model(path: string): void {
  fs.mkdirSync(path);
  fs.writeFileSync(join(path, "model.safetensors"), SMALLEST_SAFETENSORS);
}

it("an unfinished output is listed, by its target, its folder and itself, and removed", async () => {
  killed();
  for (const path of [target, folder, home]) {
    const { code, json } = await run("clean", path, "--dry-run", "--json");
    expect(code).toBe(0);
    expect(json.leftovers).toMatchObject([{ path: home, target, state: "unfinished", former: null }]);
    expect(json.leftovers[0].resumableBytes).toBeGreaterThanOrEqual(STEP);
    expect(json.leftovers[0].bytes).toBeGreaterThanOrEqual(STEP);
  }
  expect(fs.readdirSync(folder)).toHaveLength(1);
  const shown = await run("clean", target);
  expect([shown.code, shown.stderr]).toEqual([0, ""]);
  expect(shown.stdout).toMatch(/removed 1 unfinished output/);
  expect(fs.readdirSync(folder)).toEqual([]);
  const again = await run("clean", target);
  expect(again.code).toBe(0);
  expect(again.stdout).toMatch(/nothing is left/);
});

it("inspect of the target, of its folder and of a finished one beside it tells of it", async () => {
  killed();
  for (const path of [target, folder]) {
    const { code, stderr } = await run("inspect", path);
    expect(code).toBe(3);
    expect(stderr).toContain(home);
    expect(stderr).toMatch(/--resume.*`clean` removes it/);
  }
  model(target);
  const { code, stdout } = await run("inspect", target);
  expect(code).toBe(0);
  expect(stdout).toContain(home);
  expect((await run("inspect", target, "--json")).json.leftovers).toMatchObject([{ path: home }]);
});

it.each([["inspect"], ["validate"], ["plan"]])("%s gives a target back that a kill took away", async (command) => {
  model(target);
  killedBetween(tools, target, 1000);
  await run(command, target);
  expect(fs.readdirSync(target)).toEqual(["model.safetensors"]);
});

it("clean puts a former target back and removes the rest", async () => {
  model(target);
  killedBetween(tools, target, 1000);
  expect((await run("clean", folder, "--dry-run", "--json")).json.leftovers[0].former).toContain("/old-");
  expect(fs.existsSync(target)).toBe(false);
  const { code, json } = await run("clean", folder, "--json");
  expect(code).toBe(0);
  expect(json.leftovers).toMatchObject([{ done: "restored" }]);
  expect(fs.readdirSync(target)).toEqual(["model.safetensors"]);
  expect(fs.readdirSync(folder)).toEqual(["target"]);
});

it("a former target is kept where something else stands at its name", async () => {
  model(target);
  killedBetween(tools, target, 1000);
  fs.mkdirSync(target);
  const { code, json } = await run("clean", target, "--json");
  expect(code).toBe(1);
  expect(json).toMatchObject({ verdict: "fail", leftovers: [{ done: "kept" }] });
  const [{ former, reason }] = json.leftovers;
  expect(reason).toContain(former);
  expect(fs.readdirSync(former)).toEqual(["model.safetensors"]);
});

it("what a process writes is left to it", async () => {
  fs.mkdirSync(home);
  appendClaim(home, ownClaim(), "target");
  const { code, stdout } = await run("clean", target);
  expect(code).toBe(1);
  expect(stdout).toContain(`process ${process.pid} is writing to it`);
  expect(fs.existsSync(home)).toBe(true);
});

it.each([
  ["a folder without a journal", () => fs.mkdirSync(home)],
  [
    "a folder of another target",
    () => {
      fs.mkdirSync(home);
      appendClaim(home, { ...ownClaim(), pid: 2 ** 22 + 1 }, "other");
    },
  ],
  [
    "one that holds a file of someone",
    () => {
      killed();
      fs.writeFileSync(join(home, "notes.txt"), "mine");
    },
  ],
  ["one whose journal is a folder", () => fs.mkdirSync(join(home, "journal"), { recursive: true })],
])("%s is not removed", async (_, make) => {
  make();
  const before = fs.readdirSync(home);
  const { code, json } = await run("clean", folder, "--json");
  expect(code).toBe(1);
  expect(json.leftovers).toMatchObject([{ state: "foreign", done: "kept" }]);
  expect(fs.readdirSync(home)).toEqual(before);
});

it("a link of the hidden name is not followed", async () => {
  fs.mkdirSync(join(folder, "elsewhere"));
  fs.symlinkSync("elsewhere", home);
  expect((await run("clean", folder, "--json")).json.leftovers).toEqual([]);
  expect(fs.readdirSync(folder)).toHaveLength(2);
});

it("says what cannot be deleted", async () => {
  killed();
  const rm = fs.rmSync;
  vi.spyOn(fs, "rmSync").mockImplementation((path, options) => {
    if (`${path}`.endsWith("/out")) throw Object.assign(new Error("EACCES"), { code: "EACCES", syscall: "rm" });
    rm(path, options);
  });
  const { code, stdout } = await run("clean", target);
  expect(code).toBe(1);
  expect(stdout).toContain(`${join(home, "out")} cannot be deleted`);
});
