// The header of each document: what was called, and what was read, with hashes that the file system confirms.
import { createHash } from "node:crypto";
import { appendFileSync, copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, test } from "vitest";
import { VERSION } from "../../src/base/version.ts";
import { headersOnly, type SeenFile, Witness, witnessed } from "../../src/base/witness.ts";
import { DiskFolder } from "../../src/formats/io/disk-folder.ts";
import { FileHasher } from "../../src/formats/io/file-hasher.ts";
import type { FileRead } from "../../src/report/header.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";
import { run } from "./command.ts";

const split = join(FIXTURES, "llama3/split");
const [native, hf, golden] = [join(split, "native"), join(split, "hf"), join(split, "golden.safetensors")];
const hashOf = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

/** Files of a document by their name, after each hash was compared with the file's. */
function readIn(json: { readonly files: FileRead[]; readonly filesRead?: FileRead[] }): ReadonlyMap<string, FileRead> {
  const files = json.filesRead ?? json.files;
  for (const { path, sha256, bytes } of files) {
    expect(bytes).toBe(readFileSync(path).length);
    if (sha256 !== null) expect(sha256).toBe(hashOf(path));
  }
  return new Map(files.map((file) => [file.path, file]));
}

describe("every command's document", () => {
  const home = mkdtempSync(join(tmpdir(), "header-"));
  afterAll(() => rmSync(home, { recursive: true }));
  const ids = join(home, "the ids.json");
  writeFileSync(ids, "[5, 9, 2, 6]");
  const calls: Readonly<Record<string, readonly string[]>> = {
    convert: [native, join(home, "out"), "--config", hf],
    plan: [native, "--config", hf],
    inspect: [native, "--config", hf],
    roundtrip: [hf],
    diff: [native, hf, "--config", hf],
    parity: [native, hf, "--config", hf, "--ids", ids, "--backend", "cpu"],
    validate: [hf],
    families: [],
    doctor: [],
    clean: [home],
  };

  it.each(Object.entries(calls))("of %s has the header and checks", async (command, args) => {
    const before = Date.now();
    const { json } = await run(command, ...args, "--json");
    expect(json).toMatchObject({ tool: "convert-checkpoint", version: VERSION, host: { node: process.version } });
    expect(json.command).toMatch(
      new RegExp(`^convert-checkpoint ${command} .*--json$|^convert-checkpoint ${command} --json$`),
    );
    expect(json.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(Date.parse(json.time)).toBeGreaterThanOrEqual(before);
    for (const check of json.checks) {
      expect(["passed", "failed", "not checked"]).toContain(check.status);
      expect(check.name).toEqual(expect.any(String));
    }
    expect(Object.keys(json)).toEqual(expect.arrayContaining(["inputs", "files", "configs"]));
    readIn(json);
  });

  it.each(["convert", "roundtrip", "diff", "parity", "validate"])(
    "of %s has hashes of the weights",
    async (command) => {
      const args = command === "convert" ? [native, join(scratch(), "out"), "--config", hf] : calls[command]!;
      const { json } = await run(command, ...args, "--json");
      const weights = command === "convert" ? join(native, "__0_0.distcp") : join(hf, "model.safetensors");
      expect(readIn(json).get(weights)).toMatchObject({ read: "content", sha256: hashOf(weights) });
    },
  );

  it.each(["plan", "inspect"])("of %s has none of what only headers were read of", async (command) => {
    const { json } = await run(command, ...calls[command]!, "--json");
    const read = readIn(json);
    expect(read.get(join(native, "__0_0.distcp"))).toMatchObject({ read: "header", sha256: null });
    expect(read.get(join(native, ".metadata"))).toMatchObject({ sha256: hashOf(join(native, ".metadata")) });
    const { source = json.configs.path } = json.configs;
    expect(source).toMatchObject({ path: join(hf, "config.json"), sha256: hashOf(join(hf, "config.json")) });
  });

  it("of parity has the inputs, and the config of each side with the hash of its mathematics", async () => {
    const { json } = await run("parity", ...calls.parity!, "--json");
    expect(json.command).toContain(`'${ids}'`);
    expect(json.inputs.files).toMatchObject([{ option: "--ids", path: ids, sha256: hashOf(ids) }]);
    const { a, b } = json.configs;
    expect(a).toMatchObject({ origin: "given", mathematics: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(b).toMatchObject({ origin: "own", mathematics: a.mathematics, sha256: hashOf(join(hf, "config.json")) });
    const other = join(scratch(), "config.json");
    writeFileSync(
      other,
      readFileSync(join(hf, "config.json"), "utf8").replace('"rms_norm_eps": 1e-05', '"rms_norm_eps": 2e-05'),
    );
    const twice = await run("parity", hf, hf, "--config-b", other, "--backend", "cpu", "--json");
    const { a: one, b: two } = twice.json.configs;
    expect([one.mathematics === a.mathematics, two.mathematics === a.mathematics]).toEqual([true, false]);
    const recorded = await run("parity", hf, "--golden", golden, "--backend", "cpu", "--json");
    expect(recorded.json.inputs.files).toMatchObject([{ option: "--golden", path: golden, sha256: hashOf(golden) }]);
  });

  it("is there for errors, too: wrong usage, and what was read until then", async () => {
    const usage = await run("parity", "--frobnicate", "--json");
    expect(usage.json).toMatchObject({ verdict: "error", tool: "convert-checkpoint", files: [], inputs: null });
    const { json } = await run("validate", native, "--json");
    expect(json).toMatchObject({ verdict: "error", checks: [{ status: "failed" }] });
    expect([...readIn(json).keys()]).toEqual([join(native, ".metadata")]);
  });
});

describe("a hash", () => {
  const hasher = new FileHasher();
  const read = (
    path: string,
    name: string,
    how: (file: { read(at: number, to: Uint8Array): void }) => void,
  ): SeenFile => {
    const witness = new Witness();
    witnessed(witness, () => {
      const file = new DiskFolder(path).open(name);
      how(file);
      file.close();
    });
    return [...witness.files.values()][0]!;
  };

  test.each([5_000, 5_000_000])("of %d bytes is that of the content, at once or in a thread", async (bytes) => {
    const home = scratch();
    writeFileSync(join(home, "w"), Buffer.alloc(bytes, "abc"));
    const seen = read(home, "w", (file) => file.read(0, new Uint8Array(9)));
    hasher.hash(seen);
    await hasher.finish();
    expect(seen.sha256).toBe(hashOf(join(home, "w")));
  });

  test.each([5_000, 5_000_000])("is not claimed where %d bytes were changed after they were read", async (bytes) => {
    const home = scratch();
    writeFileSync(join(home, "w"), Buffer.alloc(bytes, "abc"));
    const seen = read(home, "w", (file) => file.read(0, new Uint8Array(9)));
    appendFileSync(join(home, "w"), "more");
    hasher.hash(seen);
    await hasher.finish();
    expect(seen).toMatchObject({ sha256: null, hasChanged: true });
  });

  test("is not claimed of a file that was another one when it was opened again", () => {
    const home = scratch();
    copyFileSync(join(hf, "config.json"), join(home, "c"));
    const witness = new Witness();
    witnessed(witness, () => {
      new DiskFolder(home).open("c").close();
      appendFileSync(join(home, "c"), "\n");
      new DiskFolder(home).open("c").close();
    });
    expect(witness.files.get(join(home, "c"))!.hasChanged).toBe(true);
  });

  test("needs more than headers", () => {
    const home = scratch();
    cpSync(hf, home, { recursive: true });
    const witness = new Witness();
    witnessed(witness, () => {
      const file = headersOnly(() => {
        const opened = new DiskFolder(home).open("model.safetensors");
        opened.read(0, new Uint8Array(8));
        return opened;
      });
      expect(witness.files.get(join(home, "model.safetensors"))).toMatchObject({ isTensors: true, contentBytes: 0 });
      file.read(100, new Uint8Array(50));
      file.close();
    });
    expect(witness.files.get(join(home, "model.safetensors"))).toMatchObject({ contentBytes: 50, readBytes: 58 });
  });
});
