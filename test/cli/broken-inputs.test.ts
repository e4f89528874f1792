// Every broken or hostile input: exit 3, a message of its own, and nothing left where the target would have been.
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { BROKEN_INPUTS } from "../formats/dcp/broken.ts";
import { BROKEN_PICKLE_INPUTS } from "../formats/dcp/broken-pickles.ts";
import { brokenFiles, brokenIndexes } from "../formats/safetensors/broken.ts";
import { scratch } from "../helpers/scratch.ts";
import { run } from "./command.ts";

const INPUTS = [
  ...brokenFiles.map((input) => ({ group: "safetensors", input })),
  ...brokenIndexes.map((input) => ({ group: "index", input })),
  ...BROKEN_INPUTS.map((input) => ({ group: "dcp and pt", input })),
  ...BROKEN_PICKLE_INPUTS.map((input) => ({ group: "pickle", input })),
];

it.each(INPUTS)("$group: $input.name", async ({ input }) => {
  const [source, parent] = [join(scratch(), "source"), scratch()];
  mkdirSync(source);
  const { code, stdout, stderr } = await run(input.write(source), join(parent, "target"), "--to", "raw", "--quiet");
  expect(stderr).toMatch(new RegExp(`^error\\[${input.code}\\]: `));
  expect(stderr.trimEnd().split("\n").at(-1)).toMatch(/^help: .{10,}/);
  expect(code).toBe(3);
  expect(stdout).toBe("");
  expect(readdirSync(parent)).toEqual([]);
  expect(existsSync(join(source, "executed"))).toBe(false);
});

it("covers as many as promised", () => {
  expect(brokenFiles.length).toBeGreaterThanOrEqual(25);
  expect(brokenIndexes.length).toBeGreaterThanOrEqual(10);
  expect(BROKEN_INPUTS.length + BROKEN_PICKLE_INPUTS.length).toBeGreaterThanOrEqual(15);
});
