// Files through a bounded number of descriptors: what is read is what was there on opening, or an error says so.
import { readdirSync, readlinkSync, renameSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FilePool } from "../../../src/formats/io/file-pool.ts";
import type { SourceFile } from "../../../src/formats/io/folder.ts";
import { openSafetensors } from "../../../src/formats/safetensors/open.ts";
import { scratch } from "../../helpers/scratch.ts";
import { rawFile, writeAll } from "../safetensors/broken.ts";

/** Descriptors of this process on files in a folder. */
function descriptorsIn(folder: string): number {
  const target = (fd: string) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ""; // of the listing itself
    }
  };
  return readdirSync("/proc/self/fd").filter((fd) => target(fd).startsWith(`${folder}/`)).length;
}

function text(file: SourceFile): string {
  const bytes = Buffer.alloc(file.byteLength);
  file.read(0, bytes);
  return bytes.toString();
}

/** A pool of two descriptors, and files a, b, c, … that hold their own name. */
function setUp(count: number) {
  const folder = scratch();
  const pool = new FilePool(2);
  const names = Array.from({ length: count }, (_, i) => String.fromCharCode(97 + i));
  for (const name of names) writeFileSync(join(folder, name), name);
  return { folder, names, files: names.map((name) => pool.file(join(folder, name), name)) };
}

describe("a pool", () => {
  it("holds no more descriptors than its limit, whatever the order of reads", () => {
    const { folder, names, files } = setUp(5);
    expect(descriptorsIn(folder)).toBe(0);
    for (const i of [0, 1, 2, 3, 4, 0, 0, 4, 2, 1, 3]) {
      expect(text(files[i]!)).toBe(names[i]);
      expect(descriptorsIn(folder)).toBeLessThanOrEqual(2);
    }
    for (const file of files) file.close();
    expect(descriptorsIn(folder)).toBe(0);
  });

  it("closes the one that was used longest ago", () => {
    const { folder, files } = setUp(3);
    for (const i of [0, 1, 0, 2]) text(files[i]!);
    rmSync(join(folder, "a"));
    rmSync(join(folder, "b"));
    expect(text(files[0]!)).toBe("a");
    expect(() => text(files[1]!)).toThrow(expect.objectContaining({ code: "FILE_MISSING", exitCode: 3 }));
  });
});

describe("a file", () => {
  it("that is deleted or replaced under its name stays what it was while it is open", () => {
    const { folder, files } = setUp(1);
    expect(text(files[0]!)).toBe("a");
    writeFileSync(join(folder, "new"), "z");
    renameSync(join(folder, "new"), join(folder, "a"));
    expect(text(files[0]!)).toBe("a");
  });

  it.each([
    ["size", (path: string) => writeFileSync(path, "longer")],
    ["time", (path: string) => utimesSync(path, 1, 1)],
  ])("of another %s than on opening is not read", (_, change) => {
    const { folder, files } = setUp(3);
    for (const file of files) text(file); // a is closed by now
    change(join(folder, "a"));
    expect(() => text(files[0]!)).toThrow(expect.objectContaining({ code: "FILE_CHANGED", exitCode: 3 }));
    // One that has not been read before, too.
    const late = new FilePool().file(join(folder, "b"), "b");
    change(join(folder, "b"));
    expect(() => text(late)).toThrow(/^b: the file has changed$/);
  });

  it("that becomes shorter is an error", () => {
    const { folder, files } = setUp(1);
    text(files[0]!);
    truncateSync(join(folder, "a"));
    expect(() => text(files[0]!)).toThrow(expect.objectContaining({ code: "FILE_CHANGED" }));
  });

  it("cannot be read once it is closed", () => {
    const { files } = setUp(1);
    files[0]!.close();
    expect(() => text(files[0]!)).toThrow(/after it was closed/);
  });
});

it("a safetensors checkpoint of more shards than may be open is read whole", () => {
  const folder = scratch();
  const keys = Array.from({ length: 200 }, (_, i) => `t${i}`);
  const header = (key: string) => `{"${key}":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`;
  const shards = keys.map((key, i) => [`m-${i}.safetensors`, rawFile(header(key), key.padEnd(4))] as const);
  const index = { weight_map: Object.fromEntries(keys.map((key, i) => [key, `m-${i}.safetensors`])) };
  writeAll(folder, { ...Object.fromEntries(shards), "model.safetensors.index.json": JSON.stringify(index) });
  const checkpoint = openSafetensors(folder);
  const bytes = Buffer.alloc(4);
  for (const key of [...keys, ...keys.toReversed()]) {
    checkpoint.read(key, 0, bytes);
    expect(bytes.toString().trim()).toBe(key);
  }
  expect(descriptorsIn(folder)).toBe(64);
  // Those that are closed are still checked when they are opened anew.
  utimesSync(join(folder, "m-199.safetensors"), 1, 1);
  expect(() => checkpoint.read("t199", 0, bytes)).toThrow(expect.objectContaining({ code: "FILE_CHANGED" }));
  checkpoint.close();
  expect(descriptorsIn(folder)).toBe(0);
});
