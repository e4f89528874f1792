import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { InputError } from "../../../src/base/errors.ts";
import { openDcp } from "../../../src/formats/dcp/open.ts";
import { planDcp } from "../../../src/formats/dcp/plan.ts";
import { openTorchFile } from "../../../src/formats/pt/open.ts";
import { DCP_FIXTURES, type PlainTensor, plainTensors, sorted } from "./expected.ts";
import { payloadsOf, writeGood } from "./tamper.ts";
import { writeOutput } from "./write-output.ts";

let root = "";
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "fuzz-"));
});
afterAll(() => rmSync(root, { recursive: true }));

/** All tensors, or the code of the refusal; anything else that is thrown is a defect. */
function outcome(path: string): [string, PlainTensor][] | string {
  try {
    const checkpoint = path.endsWith(".pt") ? openTorchFile(path) : openDcp(path);
    try {
      if ([...checkpoint.tensors.values()].some(({ byteLength }) => byteLength > 1 << 24)) return "huge";
      const tensors = sorted(plainTensors(checkpoint));
      checkpoint.verify();
      return tensors;
    } finally {
      checkpoint.close();
    }
  } catch (error) {
    if (error instanceof InputError) return error.code;
    throw error;
  }
}

test("no flipped bit of a .distcp changes a number: it is refused, or it lies where nothing is read", () => {
  const directory = writeGood(join(root, "good"));
  const expected = outcome(directory);
  const file = join(directory, "__0_0.distcp");
  const good = readFileSync(file);
  const refused = new Set<number>();
  for (let at = 0; at < good.length; at++) {
    const bytes = Buffer.from(good);
    bytes[at]! ^= 1 << ((at * 5) % 8);
    writeFileSync(file, bytes);
    const found = outcome(directory);
    if (typeof found === "string") refused.add(at);
    else expect(found).toEqual(expected);
  }
  const data = payloadsOf([{ key: "a.weight", dtype: "F32", shape: [4, 3] }])
    .get("a.weight")!
    .subarray(0, 24);
  const begin = good.indexOf(data);
  for (let at = begin; at < begin + data.length; at++) expect(refused.has(at)).toBe(true);
  expect(refused.size).toBeLessThan(good.length);
});

const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });

for (const name of ["grid", "fsdp-tp", "strided", "no-collectives"]) {
  test(`${name}: files with bytes changed or cut off are read or refused, and nothing else`, () => {
    const directory = join(root, name);
    cpSync(`${DCP_FIXTURES}${name}/ckpt`, directory, { recursive: true });
    const files = readdirSync(directory);
    const outcomes = new Set<string>();
    fc.assert(
      fc.property(fc.nat(), edits, fc.option(fc.nat(), { freq: 6 }), (pick, changes, cut) => {
        const file = join(directory, files[pick % files.length]!);
        const good = readFileSync(file);
        const bytes = Buffer.from(good.subarray(0, cut === null ? good.length : cut % good.length));
        for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
        writeFileSync(file, bytes);
        const found = outcome(directory);
        writeFileSync(file, good);
        outcomes.add(typeof found === "string" ? found : "read");
      }),
      { numRuns: 200 },
    );
    expect(outcomes.size).toBeGreaterThan(3);
  });
}

for (const name of ["pt-shared", "pt-legacy", "pt-protocol-4"]) {
  test(`${name}: the same`, () => {
    const file = join(root, `${name}.pt`);
    const good = readFileSync(`${DCP_FIXTURES}${name}/file.pt`);
    const outcomes = new Set<string>();
    fc.assert(
      fc.property(edits, fc.option(fc.nat(), { freq: 6 }), (changes, cut) => {
        const bytes = Buffer.from(good.subarray(0, cut === null ? good.length : cut % good.length));
        for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
        writeFileSync(file, bytes);
        const found = outcome(file);
        outcomes.add(typeof found === "string" ? found : "read");
      }),
      { numRuns: 200 },
    );
    expect(outcomes.size).toBeGreaterThan(2);
  });
}

test("more ranks than a process may hold files open", () => {
  const tensors = [{ key: "a.weight", dtype: "F32", shape: [300, 2] }] as const;
  const directory = join(root, "ranks");
  const payloads = payloadsOf(tensors);
  writeOutput(directory, planDcp(tensors, { ranks: 150 }), payloads);
  expect(readdirSync(directory)).toHaveLength(151);
  const checkpoint = openDcp(directory);
  for (const round of [1, 2]) {
    const bytes = Buffer.alloc(2400);
    for (let at = 0; at < 2400; at += 8 * round) checkpoint.read("a.weight", at, bytes.subarray(at, at + 8 * round));
    expect(bytes.equals(payloads.get("a.weight")!)).toBe(true);
  }
  checkpoint.verify();
  checkpoint.close();
});
