// The bundle as V8 compiled it when it was built: taken by this Node.js, and never needed.
import { spawnSync } from "node:child_process";
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { scratch } from "../helpers/scratch.ts";
import { COMMAND } from "./command.ts";

const compiledOf = (bin: string): string[] =>
  readdirSync(bin)
    .filter((name) => name.startsWith("compiled-"))
    .map((name) => join(bin, name));

const node = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  return { status, stdout: stdout.trim(), stderr };
};

it("V8 takes what was compiled", () => {
  const load = JSON.stringify(join(dirname(COMMAND), "load.js"));
  const text = `const { compile, source, codeFor } = require(${load}); const text = source(); compile(text, codeFor(text)).cachedDataRejected`;
  expect(node("-p", text)).toEqual({ status: 0, stdout: "false", stderr: "" });
});

it("damaged or missing, the command runs all the same", () => {
  const bin = join(scratch(), "bin");
  cpSync(dirname(COMMAND), bin, { recursive: true });
  const version = node(COMMAND, "--version");
  expect(version.stdout).toMatch(/^\d+\.\d+\.\d+/);
  for (const path of compiledOf(bin)) writeFileSync(path, "what V8 never made");
  expect(node(join(bin, "convert-checkpoint.js"), "--version")).toEqual(version);
  for (const path of compiledOf(bin)) rmSync(path);
  expect(node(join(bin, "convert-checkpoint.js"), "--version")).toEqual(version);
});

it("V8 would run code with a bit of it changed, or of another bundle as long: neither is given to it", () => {
  const bin = join(scratch(), "bin");
  cpSync(dirname(COMMAND), bin, { recursive: true });
  const load = JSON.stringify(join(bin, "load.js"));
  const isTaken = () =>
    node("-p", `const { source, codeFor } = require(${load}); codeFor(source()) !== undefined`).stdout === "true";
  expect(isTaken()).toBe(true);
  const flipBit = (path: string) => {
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(path, bytes);
  };
  for (const path of [...compiledOf(bin), join(bin, "programs.js")]) {
    flipBit(path);
    expect(isTaken()).toBe(false);
    flipBit(path);
    expect(isTaken()).toBe(true);
  }
});
