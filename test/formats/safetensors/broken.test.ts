import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { InputError } from "../../../src/base/errors.ts";
import { parseHeaderText } from "../../../src/formats/safetensors/header.ts";
import { openSafetensors } from "../../../src/formats/safetensors/open.ts";
import { brokenFiles, brokenFolders, brokenIndexes, goodSharded, rawFile, writeAll } from "./broken.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "broken-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function refusal(path: string): InputError {
  try {
    openSafetensors(path).close();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error(`${path} was accepted`);
}

describe.each([
  ["files", brokenFiles],
  ["indexes", brokenIndexes],
  ["folders", brokenFolders],
])("broken %s", (_, cases) => {
  it.each(cases.map((broken) => [broken.name, broken] as const))("%s", (_, broken) => {
    const error = refusal(broken.write(folder));
    expect(error.code).toBe(broken.code);
    expect(error.details.help).not.toBe("");
    expect(error.message).toContain(folder);
  });
});

it("a code stands for one fault: messages of different codes differ", () => {
  const messages = new Map<string, string>();
  for (const [i, broken] of [...brokenFiles, ...brokenIndexes, ...brokenFolders].entries()) {
    const home = join(folder, `${i}`);
    mkdirSync(home);
    const { code, message } = refusal(broken.write(home));
    const text = message.replaceAll(home, "");
    expect(messages.get(text) ?? code, text).toBe(code);
    messages.set(text, code);
  }
});

// Apart from the cases, which the official library has judged: it has no such limit.
it("names of 4,096 characters are read, longer ones refused; metadata of 32 M characters is read, more refused", () => {
  const header = (name: string, metadata: string) =>
    `{"__metadata__":{"a":"${metadata}"},"${name}":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`;
  const codeOf = (text: string): string | null => {
    try {
      parseHeaderText(text, "model.safetensors");
      return null;
    } catch (error) {
      return error instanceof InputError ? error.code : "other";
    }
  };
  expect(codeOf(header("w".repeat(4096), ""))).toBe(null);
  expect(codeOf(header("w".repeat(4097), ""))).toBe("SAFETENSORS_NAME_TOO_LONG");
  expect(codeOf(header("w", "x".repeat(2 ** 25 - 1)))).toBe(null);
  expect(codeOf(header("w", "x".repeat(2 ** 25)))).toBe("SAFETENSORS_METADATA_TOO_LONG");
});

it("metadata of 100,000 keys is read, of more refused", () => {
  const file = (keys: number): string => {
    const metadata = Array.from({ length: keys }, (_, i) => `"k${i}":""`).join();
    const path = join(folder, `${keys}.safetensors`);
    const a = '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}';
    writeFileSync(path, rawFile(`{"__metadata__":{${metadata}},${a}}`, "1234"));
    return path;
  };
  openSafetensors(file(100_000)).close();
  const error = refusal(file(100_001));
  expect(error.code).toBe("SAFETENSORS_TOO_MANY_KEYS");
  expect(error.message).toContain('more than 100000 keys in "__metadata__"');
});

it("the cases start from files that are accepted", () => {
  writeAll(folder, goodSharded);
  const checkpoint = openSafetensors(folder);
  expect([...checkpoint.tensors.keys()]).toEqual(["a", "b"]);
  checkpoint.close();
});

/** Written by fixtures/generate/safetensors.py from these very cases. */
const verdicts: unknown = JSON.parse(
  readFileSync(new URL("../../../fixtures/safetensors/verdicts.json", import.meta.url), "utf8"),
);

/** What the official library lets pass and we do not. */
const STRICTER = new Set([
  "space before the brace",
  "tensor twice, equal",
  "tensor twice, one escaped",
  "metadata key twice",
]);

it("the official library refuses the same files, but for the faults that only we see", () => {
  expect(verdicts).toMatchObject({ files: {} });
  const { files } = Object(verdicts);
  expect(Object.keys(files).sort()).toEqual(brokenFiles.map(({ name }) => name).sort());
  for (const { name } of brokenFiles) expect(files[name] === "accepted", name).toBe(STRICTER.has(name));
});
