// The check of the README's table finds what is not up to date.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { scratch } from "../helpers/scratch.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const script = (...args: string[]) =>
  spawnSync(process.execPath, [join(root, "scripts", "readme.mjs"), ...args], { encoding: "utf8" });

test("the table is written from the registry, and the check sees a change", () => {
  const file = join(scratch(), "README.md");
  writeFileSync(file, readFileSync(join(root, "README.md")));
  expect(script(file)).toMatchObject({ status: 0, stderr: "" });
  const written = readFileSync(file, "utf8");
  for (const { family, layouts } of adapters) {
    const row = written.split("\n").find((line) => line.startsWith(`| \`${family}\` |`));
    for (const { name } of layouts) expect(row).toContain(`\`${name}\``);
  }
  const without = new Set(adapters.flatMap(({ layouts }) => layouts.filter(({ noGraph }) => noGraph !== null)));
  const [sentence] = /^Every layout has a forward graph, .* but these: .*$/m.exec(written) ?? [""];
  const named = [...sentence.matchAll(/(?<=these.*)`([^`]+)`/g)].map(([, name]) => name);
  expect(new Set(named)).toEqual(new Set([...without].map(({ name }) => name)));
  expect(script("--check", file)).toMatchObject({ status: 0, stderr: "" });
  expect(readFileSync(file, "utf8")).toBe(written);
  writeFileSync(file, written.replace("| `llama3` |", "| `llama4` |"));
  expect(script("--check", file)).toMatchObject({ status: 1, stderr: expect.stringContaining("npm run fix") });
});

test("a README without markers is refused", () => {
  const file = join(scratch(), "README.md");
  writeFileSync(file, "# nothing\n");
  expect(script(file)).toMatchObject({ status: 1, stderr: expect.stringContaining("markers") });
  expect(readFileSync(file, "utf8")).toBe("# nothing\n");
});
