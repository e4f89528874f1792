// What docs/many-machines/ gives to schedulers, as each of them starts it, with a command in place of ours that only tells what it was called with.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { run } from "../cli/command.ts";
import { fixture } from "../helpers/fixtures.ts";
import { filesOf } from "../helpers/parted.ts";
import { scratch } from "../helpers/scratch.ts";

const scripts = fileURLToPath(new URL("../../docs/many-machines/", import.meta.url));
const source = fixture("llama3/bf16").hf;

/** The arguments that a script calls the command with. */
function argumentsOf(script: readonly string[], environment: Readonly<Record<string, string>>): string[] {
  const folder = scratch();
  const told = join(folder, "told");
  mkdirSync(join(folder, "bin"));
  const command = join(folder, "bin", "convert-checkpoint");
  writeFileSync(command, `#!/bin/sh\nprintf '%s\\n' "$@" > '${told}'\n`);
  chmodSync(command, 0o755);
  const env = { ...environment, PATH: `${join(folder, "bin")}:${process.env.PATH}` };
  const { status, stderr } = spawnSync(script[0]!, script.slice(1), { env, encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  return readFileSync(told, "utf8").trimEnd().split("\n");
}

const slurm = (task: number, target: string) =>
  argumentsOf(["bash", join(scripts, "part.sbatch"), source, target], { PARTS: "3", SLURM_ARRAY_TASK_ID: `${task}` });

function kubernetes(task: number, target: string): string[] {
  const manifest = readFileSync(join(scripts, "kubernetes.yaml"), "utf8");
  const [, folded = ""] = /args:\n\s*- >-\n((?: {14}\S.*\n)+)/.exec(manifest) ?? [];
  const line = folded.trim().replaceAll(/\n\s*/g, " ");
  const environment = { PARTS: "3", SOURCE: source, TARGET: target, JOB_COMPLETION_INDEX: `${task - 1}` };
  return argumentsOf(["/bin/sh", "-c", line], environment);
}

test.each([
  ["slurm", slurm],
  ["kubernetes", kubernetes],
])("the parts of %s are what one run writes", async (_, call) => {
  const folder = scratch();
  const target = join(folder, "parts");
  for (const task of [3, 1, 2]) expect(await run(...call(task, target), "--no-fsync")).toMatchObject({ code: 0 });
  expect(await run("finalize", target, "--no-fsync")).toMatchObject({ code: 0 });
  expect(await run("convert", source, join(folder, "one"), "--no-fsync")).toMatchObject({ code: 0 });
  expect([...filesOf(target)]).toEqual([...filesOf(join(folder, "one"))]);
});

test("a task without the number of parts makes none", () => {
  const call = () => argumentsOf(["bash", join(scripts, "part.sbatch"), source, "out"], { SLURM_ARRAY_TASK_ID: "1" });
  expect(call).toThrow("number of parts");
});

test("the manifests agree on target and number of parts, and the page names every file", () => {
  const [parts, last] = ["kubernetes.yaml", "kubernetes-finalize.yaml"].map((name) =>
    readFileSync(join(scripts, name), "utf8"),
  );
  const [, target] = /name: TARGET, value: (\S+) }/.exec(parts!) ?? [];
  expect(last).toContain(`command: [convert-checkpoint, finalize, ${target}]`);
  expect(/completions: (\d+)/.exec(parts!)?.[1]).toBe(/name: PARTS, value: "(\d+)"/.exec(parts!)?.[1]);
  const page = readFileSync(join(scripts, "../many-machines.md"), "utf8");
  for (const name of readdirSync(scripts)) expect(page).toContain(`(many-machines/${name})`);
});
