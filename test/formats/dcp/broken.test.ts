import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { InputError } from "../../../src/base/errors.ts";
import { openDcp } from "../../../src/formats/dcp/open.ts";
import { openTorchFile } from "../../../src/formats/pt/open.ts";
import { BROKEN_INPUTS } from "./broken.ts";
import { plainTensors } from "./expected.ts";
import { payloadZip, tensorPickle, withMetadata, withPayload, writeGood } from "./tamper.ts";

let root = "";
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "broken-"));
});
afterAll(() => rmSync(root, { recursive: true }));

/** What reading all of a checkpoint throws. */
function refusal(path: string): unknown {
  try {
    const checkpoint = path.endsWith(".pt") ? openTorchFile(path) : openDcp(path);
    plainTensors(checkpoint);
    checkpoint.verify();
    checkpoint.close();
    return undefined;
  } catch (error) {
    return error;
  }
}

const messages = new Map<string, string>();

for (const [i, { name, code, write }] of BROKEN_INPUTS.entries()) {
  test(`refused: ${name}`, () => {
    const directory = join(root, `${i}`);
    const path = write(directory);
    const before = readdirSync(directory, { recursive: true });
    const error = refusal(path);
    expect(error).toBeInstanceOf(InputError);
    if (!(error instanceof InputError)) return;
    expect(error).toMatchObject({ code, exitCode: 3 });
    expect(error.details.help).not.toBe("");
    expect(error.details.file).toBeDefined();
    expect(existsSync(join(directory, "executed"))).toBe(false);
    expect(readdirSync(directory, { recursive: true })).toEqual(before);
    messages.set(name, error.message);
  });
}

test("there are enough of them, and no two codes share a message", () => {
  expect(BROKEN_INPUTS.length).toBeGreaterThan(100);
  const codes = new Map<string, Set<string>>();
  for (const { name, code } of BROKEN_INPUTS) {
    const message = messages.get(name)!;
    codes.set(message, (codes.get(message) ?? new Set()).add(code));
  }
  expect([...codes].filter(([, { size }]) => size > 1)).toEqual([]);
});

test("the same inputs unspoilt are read", () => {
  expect(refusal(writeGood(join(root, "good")))).toBeUndefined();
  expect(refusal(withMetadata(join(root, "good-metadata"), () => ({})))).toBeUndefined();
  expect(refusal(withPayload(join(root, "good-payload"), payloadZip(tensorPickle())))).toBeUndefined();
});
