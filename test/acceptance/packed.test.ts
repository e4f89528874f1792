// What `npm pack` makes, in an empty folder, beside nothing but what npm installs with it.
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { FIXTURES } from "../helpers/fixtures.ts";
import { runAt } from "./command.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { dependencies, man, peerDependencies, peerDependenciesMeta } = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8"),
);

const home = mkdtempSync(join(tmpdir(), "convert-checkpoint-packed-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const own = join(home, "node_modules/convert-checkpoint");
const command = join(own, "dist/bin/convert-checkpoint.js");
const demo = (name: string) => join(FIXTURES, "demo", name);

const isWindows = process.platform === "win32";
const packing = ["pack", "--ignore-scripts", "--json", "--pack-destination", home];
const pack = spawnSync("npm", packing, { cwd: root, encoding: "utf8", shell: isWindows });
if (pack.status !== 0) throw new Error(pack.stderr);
mkdirSync(own, { recursive: true });
const [{ filename }] = JSON.parse(pack.stdout);
const unpack = spawnSync("tar", ["-xzf", filename, "--strip-components=1", "-C", own], { cwd: home, encoding: "utf8" });
if (unpack.status !== 0) throw new Error(unpack.stderr);
for (const name of Object.keys(dependencies)) {
  const link = join(home, "node_modules", name);
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(join(root, "node_modules", name), link);
}
writeFileSync(join(home, "package.json"), "{}");

test("has what it runs on, its manual page, its licence, and none of our tests", () => {
  expect(existsSync(join(own, man))).toBe(true);
  expect(readFileSync(join(own, man), "utf8")).toMatch(/^\.TH CONVERT-CHECKPOINT 1 /);
  expect(readdirSync(own).sort()).toEqual(["CHANGELOG.md", "LICENSE", "README.md", "dist", "docs", "package.json"]);
});

test("installs nothing that has binaries: all of these are optional, and told of by name", () => {
  expect(Object.keys(peerDependencies).sort()).toEqual(["onnxruntime-node", "sharp", "webgpu"]);
  for (const name of Object.keys(peerDependencies)) {
    expect(peerDependenciesMeta[name]).toEqual({ optional: true });
    expect(Object.keys(dependencies)).not.toContain(name);
  }
});

test("converts, compares, and says how the GPU would be had", () => {
  const target = join(home, "hf");
  const converted = runAt(command, "convert", demo("native"), target, "--config", demo("hf"));
  expect(converted.code, converted.stderr).toBe(0);
  const compared = runAt(command, "parity", demo("native"), target, "--config", demo("hf"));
  expect(compared.code, compared.stderr).toBe(0);
  expect(compared.json.backend).toMatchObject({ name: "wasm", fallbackFrom: "webgpu" });
  const asked = runAt(command, "parity", demo("native"), target, "--config", demo("hf"), "--backend", "webgpu");
  expect(asked.code).toBe(4);
  expect(asked.json.error.help).toContain(`npm install --prefix ${home} 'webgpu@${peerDependencies.webgpu}'`);
  const { checks } = runAt(command, "doctor").json;
  for (const name of Object.keys(peerDependencies)) {
    const told = `npm install --prefix ${home} '${name}@${peerDependencies[name]}'`;
    expect(checks.some(({ detail }: { detail: string }) => detail.includes(told))).toBe(true);
  }
});

test("is a library", () => {
  const program = 'import { convert } from "convert-checkpoint"; console.log(typeof convert);';
  writeFileSync(join(home, "program.mjs"), program);
  const { stdout, stderr } = spawnSync(process.execPath, ["program.mjs"], { cwd: home, encoding: "utf8" });
  expect([stdout, stderr]).toEqual(["function\n", ""]);
});
