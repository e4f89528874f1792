import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { DiskFolder, locate } from "../../../src/formats/io/disk-folder.ts";
import { readText } from "../../../src/formats/io/folder.ts";
import { scratch } from "../../helpers/scratch.ts";

function setUp() {
  const path = scratch();
  mkdirSync(join(path, "sub"));
  writeFileSync(join(path, "text"), "é\n");
  writeFileSync(join(path, "sub/deep"), "deep");
  symlinkSync("text", join(path, "link"));
  symlinkSync("sub", join(path, "sublink"));
  symlinkSync("nothing", join(path, "dangling"));
  symlinkSync("loop", join(path, "loop"));
  execFileSync("mkfifo", [join(path, "fifo")]);
  return { path, folder: new DiskFolder(path) };
}

const coded = (code: string, exitCode: number) => expect.objectContaining({ code, exitCode });

describe("a folder on disk", () => {
  it("says what its names stand for, links followed", () => {
    const { folder } = setUp();
    expect(folder.list()).toEqual(["dangling", "fifo", "link", "loop", "sub", "sublink", "text"]);
    const kinds = [...folder.list(), "none", "text/none", "sub/deep", "n".repeat(1000)].map((name) =>
      folder.kind(name),
    );
    expect(kinds).toEqual([null, "other", "file", null, "folder", "folder", "file", null, null, "file", null]);
    expect(folder.folder("sub").list()).toEqual(["deep"]);
    expect(() => new DiskFolder("/nowhere/at/all").list()).toThrow(coded("FILE_MISSING", 3));
  });

  it("reads text, of regular files alone", () => {
    const { folder, path } = setUp();
    expect([readText(folder, "link", 3), readText(folder, "sub/deep", 4)]).toEqual(["é\n", "deep"]);
    expect(() => readText(folder, "text", 2)).toThrow(coded("TEXT_TOO_LARGE", 3));
    writeFileSync(join(path, "latin1"), Buffer.from([0x66, 0xfc, 0x72]));
    expect(() => readText(folder, "latin1", 9)).toThrow(coded("TEXT_NOT_UTF8", 3));
    for (const name of ["fifo", "sub"]) expect(() => readText(folder, name, 9)).toThrow(coded("NOT_A_FILE", 3));
    symlinkSync("/dev/zero", join(path, "zero"));
    expect(() => readText(folder, "zero", 9)).toThrow(coded("NOT_A_FILE", 3));
    for (const name of ["none", "dangling", "loop", "n".repeat(1000)])
      expect(() => readText(folder, name, 9)).toThrow(coded("FILE_MISSING", 3));
  });

  it("reads no text that is too large for its kind, and allocates nothing for it", () => {
    const { folder, path } = setUp();
    truncateSync(join(path, "text"), 2 ** 40);
    const before = process.memoryUsage().arrayBuffers;
    expect(() => readText(folder, "text", 2 ** 24)).toThrow(/^.*text: has 1099511627776 bytes, more than/);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20);
  });
});

it("a path is a folder, or a name in one", () => {
  const { path } = setUp();
  expect(locate(path)).toMatchObject({ path, file: null, folder: { path } });
  expect(locate(join(path, "sublink"))).toMatchObject({ file: null });
  for (const file of ["text", "fifo", "none"]) {
    expect(locate(join(path, file))).toMatchObject({ path: join(path, file), file, folder: { path } });
  }
});
