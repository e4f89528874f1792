// The bundled command as a process of its own: pipes, signals, the terminal's side of things.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { f32, type State, writeSafetensors } from "../helpers/checkpoints.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const place = join(root, "node_modules", ".cache", `convert-checkpoint-${process.pid}`);
const command = join(place, "convert-checkpoint.js");
const { hf, native } = fixture("llama3/split");

beforeAll(() => {
  const bundler = pathToFileURL(join(root, "scripts", "bundle.mjs")).href;
  const code = `const { bundle } = await import(${JSON.stringify(bundler)}); await bundle("src/cli/main.ts", ${JSON.stringify(place)});`;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
    cwd: root,
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  expect(status).toBe(0);
});
afterAll(() => rmSync(place, { recursive: true, force: true }));

const run = (...args: string[]) => spawnSync(process.execPath, [command, ...args], { encoding: "utf8" });

const ended = (child: ChildProcess): Promise<number | null> => new Promise((resolve) => child.on("close", resolve));

it("starts without loading what a command needs", () => {
  const { status, stdout, stderr } = run("--help");
  expect([status, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("convert-checkpoint parity");
});

it("runs through a symbolic link, as npm installs it", () => {
  const link = join(scratch(), "convert-checkpoint");
  symlinkSync(command, link);
  const { status, stdout } = spawnSync(process.execPath, [link, "inspect", hf, "--json"], { encoding: "utf8" });
  expect(status).toBe(0);
  expect(JSON.parse(stdout).family).toBe("llama3");
});

it("shows no stack trace, unless DEBUG=1", () => {
  const args = [command, "inspect", "/nowhere"];
  const plain = spawnSync(process.execPath, args, { encoding: "utf8", env: { ...process.env, DEBUG: "" } });
  expect(plain.status).toBe(3);
  expect(plain.stderr).not.toMatch(/^\s+at /m);
  const debug = spawnSync(process.execPath, args, { encoding: "utf8", env: { ...process.env, DEBUG: "1" } });
  expect(debug.stderr).toMatch(/^\s+at /m);
  expect(debug.stderr.trimEnd().split("\n").at(-1)).toMatch(/^help: /);
});

it("computes in threads from one bundled file, and ends", () => {
  const { status, stdout, stderr } = run("parity", native, hf, "--config", hf, "--backend", "wasm", "--json");
  expect([status, stderr]).toEqual([0, ""]);
  expect(JSON.parse(stdout)).toMatchObject({ verdict: "pass", backend: { name: "wasm", adapter: null } });
});

it("survives a reader that closes its end", async () => {
  const child = spawn(process.execPath, [command, "plan", hf, "--json"], { stdio: ["ignore", "pipe", "pipe"] });
  child.stdout?.destroy();
  let stderr = "";
  child.stderr?.on("data", (chunk) => {
    stderr += chunk;
  });
  expect(await ended(child)).toBe(0);
  expect(stderr).toBe("");
});

it("shows progress on stderr when asked to, and keeps stdout clean", () => {
  const target = join(scratch(), "out");
  const { status, stdout, stderr } = run(largeModel(), target, "--to", "raw", "--progress", "--json", "--no-fsync");
  expect(stderr).toMatch(/writing .* 336 MB of 336 MB {2}/);
  expect(status).toBe(0);
  expect(JSON.parse(stdout).verdict).toBe("pass");
});

/** 320 MB: long enough to be stopped on the way. */
function largeModel(): string {
  const state: State = new Map(
    Array.from({ length: 5 }, (_, i) => [
      `w${i}`,
      { ...f32([1], () => 0), shape: [1 << 24], bytes: new Uint8Array(1 << 26) },
    ]),
  );
  return writeSafetensors(join(scratch(), "large"), state);
}

async function stopped(signal: "SIGINT" | "SIGTERM" | "SIGHUP", ...options: string[]) {
  const [source, parent] = [largeModel(), scratch()];
  const args = [command, source, join(parent, "out"), "--to", "raw", ...options];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr?.on("data", (chunk) => {
    stderr += chunk;
  });
  const timer = setInterval(() => {
    // The journal tells of bytes on disk: the run is under way, and there is something to keep.
    const journal = join(parent, ".out.convert-checkpoint-partial/journal");
    const isUnderWay = existsSync(journal) && readFileSync(journal, "utf8").includes('"bytes"');
    if (isUnderWay && !child.killed) child.kill(signal);
  }, 5);
  const code = await ended(child);
  clearInterval(timer);
  return { code, stderr, left: readdirSync(parent), source, parent };
}

it.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)("%s ends it with %d; what it wrote is kept, and how to go on is said", async (signal, expected) => {
  const { code, stderr, left, source, parent } = await stopped(signal);
  expect(code).toBe(expected);
  expect(left).toEqual([".out.convert-checkpoint-partial"]);
  const lines = stderr.trimEnd().split("\n");
  expect(lines).toHaveLength(2);
  expect(lines[0]).toBe(`error[INTERRUPTED]: stopped by ${signal}`);
  expect(lines[1]).toMatch(/^help: .* MB are kept in .*: the same command with --resume continues/);
  expect(run(source, join(parent, "out"), "--to", "raw", "--resume").status).toBe(0);
  expect(readdirSync(parent)).toEqual(["out"]);
  expect(run("diff", source, join(parent, "out")).status).toBe(0);
});

it("exits 4 where the target cannot be created", () => {
  const directory = scratch();
  mkdirSync(join(directory, "folder"));
  writeFileSync(join(directory, "file"), "");
  const { status, stderr } = run(hf, join(directory, "file", "out"));
  expect(stderr).toMatch(/^error\[/);
  expect([3, 4]).toContain(status);
});
