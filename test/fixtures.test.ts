import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { expect, test } from "vitest";
import { FIXTURES, fixtureFiles, tableCases } from "./helpers/fixtures.ts";

const unlisted = new Set(["README.md", "manifest.json", ".gitattributes"]);

function filesOnDisk(): string[] {
  return readdirSync(FIXTURES, { recursive: true, encoding: "utf8" })
    .map((name) => name.replaceAll("\\", "/"))
    .filter((name) => statSync(FIXTURES + name).isFile())
    .filter((name) => !name.startsWith("generate/") && !unlisted.has(name))
    .sort();
}

test("every fixture file is the one its generator wrote", () => {
  const found = fixtureFiles.map(({ name }) => {
    const bytes = readFileSync(FIXTURES + name);
    return { name, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  });
  expect(found).toEqual(fixtureFiles);
});

test("no fixture file is unlisted", () => {
  expect(filesOnDisk()).toEqual(fixtureFiles.map(({ name }) => name).sort());
});

test("fixtures stay small", () => {
  expect(fixtureFiles.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(66.5e6);
});

test("each case has the paths it promises, and each native variant a .metadata", () => {
  expect(tableCases.length).toBeGreaterThan(0);
  for (const { natives, hfs, golden, native, hf } of tableCases) {
    expect(Object.values(natives)).toContain(native);
    expect(Object.values(hfs)).toContain(hf);
    for (const folder of Object.values(natives)) expect(statSync(`${folder}/.metadata`).size).toBeGreaterThan(0);
    for (const folder of Object.values(hfs)) expect(statSync(`${folder}/config.json`).size).toBeGreaterThan(0);
    expect(statSync(golden).size).toBeGreaterThan(0);
  }
});
