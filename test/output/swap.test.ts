// A folder that is replaced: killed before each step of it, the old or the new one stands at the name, whole.
import fs from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exchange } from "../../src/output/exchange.ts";
import { executeOutput } from "../../src/output/execute.ts";
import { homeOf } from "../../src/output/home.ts";
import { appendClaim, ownClaim } from "../../src/output/journal.ts";
import { restoreTarget } from "../../src/output/swap.ts";
import { SMALLEST_SAFETENSORS } from "../helpers/checkpoints.ts";
import { scratch } from "../helpers/scratch.ts";
import { buildChild, killedBetween, runChild } from "./build-child.ts";
import type { ChildOptions } from "./execute-child.ts";
import { expectedFiles, plannedFiles, produceBytes, STEP } from "./execute-plan.ts";

const BYTES = 100_000;
const OLD = { "config.json": Buffer.from("{}"), "model.safetensors": Buffer.from(SMALLEST_SAFETENSORS) };

let tools: string;
beforeAll(async () => {
  tools = fs.mkdtempSync(join(tmpdir(), "swap-tools-"));
  await buildChild(tools);
});
afterAll(() => fs.rmSync(tools, { recursive: true }));

/** A target that is there, and how its new state is written. */
interface Case {
  readonly isFile: boolean;
  readonly target: string;
}

function oldTarget(isFile: boolean): Case {
  const target = join(scratch(), isFile ? "target.safetensors" : "target");
  fs.mkdirSync(target);
  for (const [name, bytes] of Object.entries(OLD)) fs.writeFileSync(join(target, name), bytes);
  return { isFile, target };
}

const filesOf = ({ isFile }: Case) => (isFile ? plannedFiles(BYTES).slice(0, 1) : plannedFiles(BYTES));

const run = (each: Case, more: { force?: boolean; resume?: boolean } = {}) =>
  executeOutput({
    files: filesOf(each),
    produce: produceBytes,
    stepBytes: STEP,
    ...(each.isFile ? { targetFile: each.target } : { targetDir: each.target }),
    ...more,
  });

const child = ({ isFile, target }: Case, more: Partial<ChildOptions>) =>
  runChild(tools, { target, isFile, bytes: BYTES, force: true, ...more });

/** Which of the two stands at the name; fails where neither does, whole. */
function whole({ isFile, target }: Case): "old" | "new" {
  const fresh = expectedFiles(BYTES);
  if (fs.statSync(target).isFile()) {
    expect(isFile && fs.readFileSync(target).equals(fresh["first.distcp"]!)).toBe(true);
    return "new";
  }
  const names = fs.readdirSync(target, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const isOld = names.some(({ name }) => name === "config.json");
  const expected: Record<string, Buffer> = isOld ? OLD : fresh;
  expect(names).toHaveLength(Object.keys(expected).length);
  for (const [name, bytes] of Object.entries(expected)) {
    expect(fs.readFileSync(join(target, name)).equals(bytes), name).toBe(true);
  }
  return isOld ? "old" : "new";
}

/** Number of a run's calls that change names. */
function callsOf(isFile: boolean, canExchange: boolean): number {
  const each = oldTarget(isFile);
  const { stdout, stderr } = child(each, { canExchange });
  expect(stderr).toBe("");
  expect(whole(each)).toBe("new");
  return Number(stdout);
}

describe.each([
  ["in one step", true],
  ["in two renames", false],
])("%s", (_, canExchange) => {
  it.each([
    ["a folder", false],
    ["a file", true],
  ])("%s in a folder's place, killed before each change", { timeout: 120_000 }, async (_name, isFile) => {
    const calls = callsOf(isFile, canExchange);
    expect(calls).toBeGreaterThan(8);
    const seen = { old: 0, new: 0, none: 0 };
    for (let killBefore = 1; killBefore <= calls; killBefore += 1) {
      const each = oldTarget(isFile);
      const shown = `killed before change ${killBefore}`;
      expect(child(each, { canExchange, killBefore }).signal, shown).toBe("SIGKILL");
      if (!fs.existsSync(each.target)) {
        seen.none += 1;
        await restoreTarget(join(each.target, "config.json"));
        expect(whole(each), shown).toBe("old");
      } else seen[whole(each)] += 1;
      await expect(run(each), shown).rejects.toMatchObject({ code: "TARGET_EXISTS" });
      // What was written is no checkpoint by its bytes: as a file it is not replaced.
      if (!isFile || whole(each) === "old") await run(each, { force: true, resume: true });
      expect(whole(each)).toBe("new");
      expect(fs.readdirSync(dirname(each.target)), shown).toEqual([basename(each.target)]);
    }
    expect(seen.old).toBeGreaterThan(4);
    expect(seen.new).toBeGreaterThan(0);
    expect(seen.none).toBe(canExchange ? 0 : 1);
  });

  it("killed while the old one is deleted, it is never taken for a whole one", async () => {
    const each = oldTarget(false);
    expect(child(each, { canExchange, killInDeletion: true }).signal).toBe("SIGKILL");
    expect(whole(each)).toBe("new");
    fs.renameSync(each.target, `${each.target}-moved`);
    await restoreTarget(each.target);
    expect(fs.existsSync(each.target)).toBe(false);
    await run(each, { resume: true });
    expect(whole(each)).toBe("new");
    expect(fs.readdirSync(dirname(each.target)).toSorted()).toEqual(["target", "target-moved"]);
  });
});

it("where something else came to the name meanwhile, nothing is replaced and the old one is named", async () => {
  const each = oldTarget(false);
  killedBetween(tools, each.target, BYTES);
  fs.mkdirSync(each.target);
  fs.writeFileSync(join(each.target, "notes.txt"), "mine");
  for (const more of [{}, { force: true }, { force: true, resume: true }]) {
    const error = await run(each, more).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "PARTIAL_HOLDS_OLD", exitCode: 3 });
  }
  expect(fs.readdirSync(each.target)).toEqual(["notes.txt"]);
  const old = fs.readdirSync(homeOf(each.target)).find((name) => name.startsWith("old-"))!;
  expect(fs.readdirSync(join(homeOf(each.target), old)).toSorted()).toEqual(Object.keys(OLD));
});

it("a new one that did not reach the name is continued without writing it again", async () => {
  const each = oldTarget(false);
  killedBetween(tools, each.target, BYTES);
  const produced: string[] = [];
  const produce: typeof produceBytes = (key) => void produced.push(key);
  const { target: targetDir } = each;
  await executeOutput({ files: filesOf(each), produce, stepBytes: STEP, targetDir, force: true, resume: true });
  expect(whole(each)).toBe("new");
  expect(produced).toEqual([]);
});

it("two names of any kind are exchanged, and one that is not there is not", () => {
  const folder = scratch();
  const [a, b] = [join(folder, "a $(x) 'q'"), join(folder, "-b")];
  fs.mkdirSync(a);
  fs.symlinkSync("nowhere", b);
  expect(exchange(a, b)).toBe(process.platform === "linux" && fs.existsSync("/usr/bin/perl"));
  expect(fs.lstatSync(b).isDirectory()).toBe(true);
  expect(fs.readlinkSync(a)).toBe("nowhere");
  expect(exchange(a, join(folder, "none"))).toBe(false);
  expect(fs.readdirSync(folder)).toHaveLength(2);
});

it("a reader waits for a process that is between the two renames, and leaves its work to it", async () => {
  const { target } = oldTarget(false);
  const old = join(homeOf(target), "old-0123");
  fs.mkdirSync(homeOf(target));
  fs.renameSync(target, old);
  appendClaim(homeOf(target), ownClaim(), basename(target));
  const back = setTimeout(() => fs.renameSync(old, target), 200);
  await restoreTarget(join(target, "config.json"));
  expect(fs.existsSync(target)).toBe(true);
  clearTimeout(back);
  fs.renameSync(target, old);
  await restoreTarget(target);
  expect(fs.existsSync(target)).toBe(false);
});
