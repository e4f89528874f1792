// The fields that docs/reports.md tells of are those of real documents, and all of them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { run } from "../cli/command.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const page = readFileSync(fileURLToPath(new URL("../../docs/reports.md", import.meta.url)), "utf8");
const [, everywhere = "", each = ""] = page.split(/^## /m);
const named = (text: string): string[] => [...text.matchAll(/`(\w+)`/g)].map(([, name = ""]) => name);
const fieldsOf = (section: string): ReadonlyMap<string, readonly string[]> =>
  new Map(
    [...section.matchAll(/^\| (`.*?`) \| (.*?) \|/gm)].map(([, first = "", second = ""]) => [first, named(second)]),
  );

const common = [...fieldsOf(everywhere).keys()].flatMap(named);
const own = new Map([...fieldsOf(each)].map(([command, fields]) => [command.replaceAll("`", ""), fields]));

const split = join(FIXTURES, "llama3/split");
const [native, hf] = [join(split, "native"), join(split, "hf")];
const calls: Readonly<Record<string, () => readonly string[] | Promise<readonly string[]>>> = {
  clean: () => [scratch()],
  convert: () => [native, join(scratch(), "out"), "--config", hf],
  "convert --part": () => [hf, join(scratch(), "out"), "--part", "1/2"],
  diff: () => [native, hf, "--config", hf],
  doctor: () => [],
  families: () => [],
  finalize: async () => {
    const target = join(scratch(), "out");
    await run("convert", hf, target, "--part", "1/1");
    return [target];
  },
  inspect: () => [native, "--config", hf],
  parity: () => [native, hf, "--config", hf, "--tokens", "40", "--backend", "cpu"],
  plan: () => [native, "--config", hf],
  roundtrip: () => [hf],
  validate: () => [hf],
};

test("each command of the page has a call here", () => {
  expect([...own.keys()].toSorted()).toEqual(Object.keys(calls).toSorted());
  expect(common).toEqual(expect.arrayContaining(["tool", "checks", "files"]));
});

test.each(Object.keys(calls))("%s", async (command) => {
  const [name = ""] = command.split(" ");
  const { json } = await run(name, ...(await calls[command]!()), "--json");
  const all = [...common, ...own.get(command)!, ...(json.filesRead === undefined ? [] : ["filesRead"])];
  const expected = all.filter((name) => command !== "inspect" || name !== "verdict");
  expect(Object.keys(json).toSorted()).toEqual([...new Set(expected)].toSorted());
});
