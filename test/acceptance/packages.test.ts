// The command where an optional package is not installed, or its binary is not: it does without, and says what it cannot do.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { FIXTURES, fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";
import { COMMAND, runAt } from "./command.ts";

const MODULES = fileURLToPath(new URL("../../node_modules/", import.meta.url));

/** The command installed beside `packages` alone, those linked, and what `more` puts there. Its path. */
function installed(packages: readonly string[], more: (modules: string) => void = () => {}): string {
  const home = scratch();
  cpSync(dirname(COMMAND), join(home, "bin"), { recursive: true });
  const modules = join(home, "node_modules");
  for (const name of ["@huggingface/jinja", "@huggingface/tokenizers", ...packages]) link(modules, name);
  more(modules);
  return join(home, "bin/convert-checkpoint.js");
}

function link(modules: string, name: string): void {
  mkdirSync(dirname(join(modules, name)), { recursive: true });
  symlinkSync(join(MODULES, name), join(modules, name));
}

/** sharp as npm leaves it with `--omit=optional`: its libraries for this platform are packages of their own. */
function sharpAlone(modules: string): void {
  const { dependencies } = JSON.parse(readFileSync(join(MODULES, "sharp/package.json"), "utf8"));
  cpSync(join(MODULES, "sharp"), join(modules, "sharp"), { recursive: true });
  for (const name of Object.keys(dependencies)) link(modules, name);
}

/** The npm package without the folder of its binaries. */
function dawnAlone(modules: string): void {
  const filter = (path: string) => !path.startsWith(join(MODULES, "webgpu/dist"));
  cpSync(join(MODULES, "webgpu"), join(modules, "webgpu"), { recursive: true, filter });
}

const vision = fixture("qwen3_vl/tied");
const image = ["--tokenizer", join(FIXTURES, "images/qwen2_vl"), "--chat-template", "--prompt", "what", "--image"];
const demo = [
  "parity",
  join(FIXTURES, "demo/native"),
  join(FIXTURES, "demo/hf"),
  "--config",
  join(FIXTURES, "demo/hf"),
];
const both = ["parity", vision.native, vision.hf, "--config", vision.hf, "--accept-known"];

describe("without sharp", () => {
  test.each<[string, string, () => string]>([
    ["not installed", "is not installed", () => installed([])],
    ["without its binary", "does not load on this machine", () => installed([], sharpAlone)],
  ])("%s: exit 4 for an image, and nothing else is missing", (_, state, install) => {
    const command = install();
    const { code, json, stderr } = runAt(command, ...both, ...image, join(FIXTURES, "images/wide.png"));
    expect(code).toBe(4);
    expect(json.error).toMatchObject({ code: "IMAGE_DECODER_MISSING", found: expect.stringMatching(/^.*sharp.*$/) });
    expect(stderr).toMatch(
      /^error\[IMAGE_DECODER_MISSING\]: .*`sharp`.*\n +found: .*\nhelp: .*npm install sharp.*--inputs.*\n$/,
    );
    expect(json.error.message).toContain(state);
    expect(runAt(command, "doctor").json.images).toMatchObject({ available: false, reason: json.error.message });
    const pixels = runAt(command, ...both, "--inputs", vision.inputs!, "--backend", "cpu");
    expect([pixels.code, pixels.json.inputs.images], pixels.stderr).toEqual([0, 2]);
  });
});

describe("without webgpu", () => {
  test.each<[string, string, () => string]>([
    ["not installed", "is not installed", () => installed(["sharp"])],
    ["without its binary", "does not load on this machine", () => installed(["sharp"], dawnAlone)],
  ])("%s: exit 4 where it is asked for, and auto goes without", (_, state, install) => {
    const command = install();
    const asked = runAt(command, ...demo, "--backend", "webgpu");
    expect(asked.code).toBe(4);
    expect(asked.json.error).toMatchObject({ code: "WEBGPU_NOT_LOADABLE", help: expect.stringContaining("wasm") });
    expect(asked.json.error.message).toContain(state);
    expect(asked.json.error.help).toContain("npm install webgpu");
    const auto = runAt(command, ...demo);
    expect(auto.code, auto.stderr).toBe(0);
    expect(auto.json.backend).toMatchObject({ name: "wasm", fallbackFrom: "webgpu" });
    expect(auto.json.backend.fallbackReason).toContain("`webgpu`");
    expect(runAt(command, "doctor").json.backends.webgpu).toMatchObject({ available: false });
  });
});

describe("onnxruntime-node", () => {
  const wasm = [...both, "--inputs", vision.inputs!, "--backend", "wasm"];
  test("installed beside the command: large products are left to it, and it neither reports to anybody nor leaves a trace", () => {
    const command = installed(["onnxruntime-node"]);
    const [home, here] = [scratch(), scratch()];
    // Nothing that tells the library that it is tested: it would report nothing then.
    const options = { cwd: here, env: { PATH: process.env.PATH, HOME: home }, encoding: "utf8" } as const;
    const { status, stdout } = spawnSync(process.execPath, [command, ...demo, "--backend", "wasm", "--json"], options);
    const { backend } = JSON.parse(stdout);
    expect([status, backend.library]).toEqual([0, expect.stringMatching(/^ONNX Runtime \d/)]);
    expect([readdirSync(home), readdirSync(here)]).toEqual([[], []]);
    expect(runAt(command, "doctor").json.backends.wasm).toEqual({ available: true, library: backend.library });
  });

  test("not installed: the same command without it, and doctor says so", () => {
    const command = installed([]);
    const { code, json, stderr } = runAt(command, ...wasm);
    expect([code, json.backend], stderr).toEqual([0, { name: "wasm", adapter: null }]);
    expect(runAt(command, "doctor").json.backends.wasm).toEqual({
      available: true,
      noLibrary: "npm package onnxruntime-node is not installed",
    });
  });
});
