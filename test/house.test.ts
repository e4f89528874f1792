// The house as docs/architecture.md describes it: small rooms, small files. Directions of imports are held by lint.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { ALONE, LONGEST } from "./order.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

const MOST_FILES = 16;
const MOST_LINES = 350;

const files = ["src", "adapters", "numerics"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(folder, name)),
);

test(`no folder has more than ${MOST_FILES} files`, () => {
  const counts = new Map<string, number>();
  for (const file of files) counts.set(dirname(file), (counts.get(dirname(file)) ?? 0) + 1);
  expect([...counts].filter(([, count]) => count > MOST_FILES)).toEqual([]);
});

test(`no file has more than ${MOST_LINES} lines`, () => {
  const lines = (file: string) => readFileSync(join(root, file), "utf8").split("\n").length - 1;
  expect(files.filter((file) => lines(file) > MOST_LINES)).toEqual([]);
});

test("every room stands on a floor, and every floor is described", () => {
  const rooms = new Set(files.flatMap((file) => /^(src\/[^/]+|adapters|numerics)\//.exec(file)?.[1] ?? []));
  const cruiser = readFileSync(join(root, ".dependency-cruiser.cjs"), "utf8");
  const page = readFileSync(join(root, "docs/architecture.md"), "utf8");
  for (const room of rooms) {
    expect(cruiser, room).toContain(`"${room}"`);
    expect(page, room).toContain(`\`${room}/\``);
  }
});

const tests = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".test.ts"))
  .map((name) => `test/${name.replaceAll("\\", "/")}`);

test("test files that change what a process keeps have one of their own", () => {
  const changes = /\bvi\.(?:mock|doMock|hoisted)\(|\/helpers\/(?:no-gpu|matrices)\.ts"/;
  expect(tests.filter((name) => changes.test(readFileSync(join(root, name), "utf8"))).sort()).toEqual(ALONE);
});

test("the test files that are begun first are there", () => {
  expect(LONGEST.filter((name) => !tests.includes(name))).toEqual([]);
});
