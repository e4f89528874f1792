// A target is never anything but what may be replaced. Each case shows what would be lost.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { InputError } from "../../src/base/errors.ts";
import { convert } from "../../src/convert/convert.ts";
import { planConversion } from "../../src/convert/plan.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { checkTarget } from "../../src/output/safe-target.ts";
import { readState, SMALLEST_SAFETENSORS, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { fixture } from "../helpers/fixtures.ts";
import { fixtureCase } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";

const split = fixture("llama3/split");
const config = join(split.hf, "config.json");

function refusal(call: () => unknown): InputError {
  try {
    call();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  return expect.fail("no error");
}

/** All paths of a folder with the text of each file, links as links: to see that nothing changed. */
const snapshot = (folder: string): (readonly [string, string])[] =>
  fs.readdirSync(folder, { recursive: true, withFileTypes: true }).map((entry) => {
    const path = join(entry.parentPath, entry.name);
    if (entry.isSymbolicLink()) return [path, `→ ${fs.readlinkSync(path)}`];
    return [path, entry.isFile() ? fs.readFileSync(path, "base64") : ""];
  });

/** Whether a conversion to `target` is refused with and without force, and leaves all in `folder` as it was. */
async function expectRefused(folder: string, source: string, target: string, options: { to?: string } = {}) {
  const before = snapshot(folder);
  for (const force of [false, true]) {
    const error = await converted(source, target, { config, ...options, force }).catch((thrown: unknown) => thrown);
    expect(error, `${basename(target)}, force: ${force}`).toMatchObject({ code: "TARGET_UNSAFE", exitCode: 3 });
  }
  expect(snapshot(folder)).toEqual(before);
}

describe("what is read is never replaced", () => {
  it("blobs behind the links of a snapshot, each of them, and the links", async () => {
    const folder = scratch();
    const [blobs, snap] = [join(folder, "blobs"), join(folder, "snap")];
    for (const path of [blobs, snap]) fs.mkdirSync(path);
    for (const name of fs.readdirSync(split.hf)) {
      fs.copyFileSync(join(split.hf, name), join(blobs, `of-${name}`));
      fs.symlinkSync(`../blobs/of-${name}`, join(snap, name));
    }
    for (const target of [blobs, folder, snap, join(blobs, "of-model.safetensors"), join(snap, "model.safetensors")]) {
      await expectRefused(folder, snap, target);
    }
  });

  it("a shard behind an index, given as a file", async () => {
    const folder = scratch();
    const source = writeSafetensors(join(folder, "s"), readState(split.hf), { maxShardSize: 100_000, config });
    const shard = fs.readdirSync(source).find((name) => name.includes("-00002-of-"))!;
    for (const path of [source, join(source, "model.safetensors.index.json")]) {
      await expectRefused(folder, path, join(source, shard), { to: "raw" });
      await expectRefused(folder, path, join(source, "config.json"));
    }
  });

  it("files of a DCP folder, and the folder", async () => {
    const folder = scratch();
    const source = writeDcp(join(folder, "d"), readState(split.native), { config });
    for (const name of ["__0_0.distcp", ".metadata", "config.json", "."]) {
      await expectRefused(folder, source, join(source, name));
      await expectRefused(folder, join(source, ".metadata"), join(source, name));
    }
  });

  it("the config given, its folder, and companions", async () => {
    const folder = scratch();
    const source = writeDcp(join(folder, "d"), readState(split.native));
    const extra = writeSafetensors(join(folder, "extra"), readState(split.hf), { config });
    fs.writeFileSync(join(extra, "tokenizer.json"), "{}");
    const before = snapshot(folder);
    for (const target of [extra, join(extra, "config.json"), join(extra, "tokenizer.json")]) {
      const given = { config: extra, force: true };
      await expect(converted(source, target, given)).rejects.toMatchObject({ code: "TARGET_UNSAFE" });
    }
    expect(snapshot(folder)).toEqual(before);
  });

  it("a hard link to the source, and a link whose end is the source", async () => {
    const folder = scratch();
    const source = writeSafetensors(join(folder, "s"), readState(split.hf), { config });
    fs.linkSync(join(source, "model.safetensors"), join(folder, "other.safetensors"));
    fs.symlinkSync(source, join(folder, "link"));
    await expectRefused(folder, source, join(folder, "other.safetensors"));
    await expectRefused(folder, source, join(folder, "link"));
    await expectRefused(folder, join(folder, "link"), join(folder, "link"));
  });

  it("the source's folder is not written into where something stands; a new name in it is fine", async () => {
    const folder = scratch();
    const source = writeSafetensors(join(folder, "s"), readState(split.hf), { config });
    writeDcp(join(source, "native"), readState(split.native));
    await expectRefused(folder, source, join(source, "native"));
    await converted(source, join(source, "new"));
    expect(fs.readdirSync(source)).toContain("new");
  });

  it.each([
    ["safetensors", split.hf, ["model.safetensors"]],
    ["DCP", split.native, [".metadata", "__0_0.distcp"]],
  ])("a checkpoint knows its files: %s", (_, path, expected) => {
    const checkpoint = openCheckpoint(path);
    expect(checkpoint.files).toEqual(expected);
    expect(checkpoint.files.map((name) => checkpoint.folder.diskPathOf(name))).toEqual(
      expected.map((name) => join(path, name)),
    );
    checkpoint.close();
  });

  it("record and scales beside the source are known to the plan", async () => {
    const native = join(scratch(), "native");
    await converted(fixtureCase("deepseek_v3/fp8").hf, native);
    const source = openCheckpoint(native);
    const { reads } = planConversion(source, join(scratch(), "x"), { adapters });
    source.close();
    const names = reads.map((path) => basename(path));
    expect(names).toEqual(expect.arrayContaining(["convert-checkpoint.json", "convert-checkpoint.scales.safetensors"]));
    expect(reads).toEqual(expect.arrayContaining([native, join(native, "config.json")]));
  });
});

describe("only a checkpoint is replaced", () => {
  const check = (target: string, force = true) => checkTarget(target, { force, reads: [] });

  it.each<[string, string[], string]>([
    ["a cloned repository", ["config.json", ".git/HEAD", "README.md", "notes.txt"], ".git/, README.md, notes.txt"],
    ["a licence", ["LICENSE"], "LICENSE"],
    ["what a trainer needs to go on", ["optimizer.pt"], "optimizer.pt"],
    ["a subfolder with a foreign file", ["weights/notes.txt"], "weights/"],
    ["many files", ["a", "b", "c", "d", "e", "f", "g"], "a, b, c, d, e and 2 more"],
  ])("not with %s beside the weights", (_, names, listed) => {
    const target = scratch();
    fs.writeFileSync(join(target, "model.safetensors"), SMALLEST_SAFETENSORS);
    expect(check(target)?.kind).toBe("checkpoint");
    for (const name of names) {
      fs.mkdirSync(join(target, name, ".."), { recursive: true });
      fs.writeFileSync(join(target, name), "PK\u0003\u0004");
    }
    const error = refusal(() => check(target));
    expect([error.code, error.exitCode]).toEqual(["TARGET_UNSAFE", 3]);
    expect(error.message).toContain(`would delete ${listed}`);
    const exists = refusal(() => check(target, false));
    expect(exists.code).toBe("TARGET_EXISTS");
    expect(exists.details.help).not.toContain("--force");
  });

  it("not a folder with an empty one in it, nor one without weights", () => {
    const target = scratch();
    fs.writeFileSync(join(target, "config.json"), "{}");
    expect(refusal(() => check(target)).message).toContain("holds no weights");
    fs.writeFileSync(join(target, "model.safetensors"), SMALLEST_SAFETENSORS);
    fs.mkdirSync(join(target, "empty"));
    expect(refusal(() => check(target)).message).toContain("would delete empty/");
  });

  it("our own output of every kind", async () => {
    const folder = scratch();
    for (const [name, source, options] of [
      ["native", split.hf, {}],
      ["hf", split.native, { config: split.hf, maxShardSize: 100_000 }],
      ["raw", split.hf, { to: "raw", format: "pt" }],
      ["x.safetensors", split.hf, { to: "raw" }],
      ["x.pt", split.hf, { to: "raw" }],
    ] as const) {
      await converted(source, join(folder, name), options);
      expect(check(join(folder, name))?.kind, name).toBe("checkpoint");
    }
  });

  it("files of ranks as Meta has them, in a folder of their own, too", () => {
    const target = scratch();
    const folder = join(target, "original");
    fs.mkdirSync(folder);
    for (const name of ["consolidated.00.pth", "consolidated.01.pth"]) {
      fs.writeFileSync(join(folder, name), "PK\u0003\u0004");
    }
    for (const name of ["params.json", "tokenizer.model"]) fs.writeFileSync(join(folder, name), "{}");
    for (const path of [folder, target]) expect(check(path)?.contents?.files).toHaveLength(4);
  });

  it.each([
    ["model.safetensors", "hello"],
    ["model.safetensors", "\u0009\0\0\0\0\0\0\0{}"],
    ["model.pt", "hello"],
    ["model.pth", ""],
    ["notes.txt", "PK\u0003\u0004"],
  ])("not a file that is none: %s of %j, alone or in a folder", (name, text) => {
    const folder = scratch();
    fs.writeFileSync(join(folder, name), text);
    expect(refusal(() => check(join(folder, name))).code).toBe("TARGET_UNSAFE");
    expect(refusal(() => check(join(folder, name), false)).code).toBe("TARGET_EXISTS");
    expect(refusal(() => check(folder)).code).toBe("TARGET_UNSAFE");
  });

  it("a file by its first bytes", () => {
    const folder = scratch();
    for (const [name, head] of [
      ["a.pt", [0x50, 0x4b, 3, 4]],
      ["a.pth", [0x80, 2, 0x8a, 0x0a]],
    ] as const) {
      fs.writeFileSync(join(folder, name), Buffer.from(head));
      expect(check(join(folder, name))).toMatchObject({ kind: "checkpoint", contents: { files: [name], bytes: 4 } });
    }
  });

  it("not a pipe, with or without force, alone, behind a link or in a folder", () => {
    const folder = scratch();
    const pipe = join(folder, "model.safetensors");
    expect(spawnSync("mkfifo", [pipe]).status).toBe(0);
    fs.symlinkSync(pipe, join(folder, "link"));
    for (const force of [false, true]) {
      for (const path of [pipe, join(folder, "link")]) {
        expect(refusal(() => check(path, force)).message, path).toContain("neither a regular file nor a folder");
      }
    }
    expect(refusal(() => check(folder)).code).toBe("TARGET_UNSAFE");
  });

  it("a link goes as a link", async () => {
    const folder = scratch();
    const [mine, link] = [join(folder, "mine"), join(folder, "link")];
    fs.mkdirSync(mine);
    fs.writeFileSync(join(mine, "notes.txt"), "mine");
    fs.symlinkSync(mine, link);
    expect(refusal(() => check(link, false)).code).toBe("TARGET_EXISTS");
    const { notes } = await converted(split.hf, link, { force: true });
    expect(notes).toContain("replaced: a link; what it led to is as it was");
    expect(fs.readFileSync(join(mine, "notes.txt"), "utf8")).toBe("mine");
    expect(fs.lstatSync(link).isDirectory()).toBe(true);
  });

  it("never home, the current directory, what holds them, or a root; be they empty", () => {
    const folder = scratch();
    const home = join(folder, "home");
    fs.mkdirSync(home);
    vi.stubEnv("HOME", home);
    try {
      for (const target of [home, folder, process.cwd(), "/"]) {
        for (const force of [false, true]) expect(refusal(() => check(target, force)).code).toBe("TARGET_UNSAFE");
      }
    } finally {
      vi.unstubAllEnvs();
    }
    expect(check(home)?.kind).toBe("empty folder");
  });

  it("never a mount point, be it empty, or a folder with one in it", () => {
    const folder = scratch();
    const inside = join(folder, "weights");
    fs.mkdirSync(inside);
    fs.writeFileSync(join(inside, "model.safetensors"), SMALLEST_SAFETENSORS);
    const lstat = fs.lstatSync;
    const spy = vi.spyOn(fs, "lstatSync").mockImplementation((path, options) => {
      const stats = Reflect.apply(lstat, fs, [path, options]);
      if (path === inside && stats !== undefined) Object.defineProperty(stats, "dev", { value: -1 });
      return stats;
    });
    try {
      expect(refusal(() => check(inside)).message).toContain("is a mount point");
      expect(refusal(() => check(folder)).message).toContain("would delete weights/");
    } finally {
      spy.mockRestore();
    }
    expect(check(folder)?.kind).toBe("checkpoint");
  });

  // scripts/test.mjs counts what is marked so, and says where it did not run.
  describe.skipIf(process.platform !== "linux")("[linux] places of the system", () => {
    it.each([
      "/proc/out",
      "/proc/self/fd/x",
      "/proc/self/fd/x/y",
      "/dev/fd/x",
      "/dev/fd/1",
      "/dev/stdout",
      "/dev/null",
      "/dev/out",
    ])("never %s, which is refused before a folder is made", async (target) => {
      const mkdir = vi.spyOn(fs, "mkdirSync");
      const source = openCheckpoint(split.hf);
      try {
        const plan = planConversion(source, target, { adapters });
        for (const force of [false, true]) {
          expect(refusal(() => check(target, force)).code).toBe("TARGET_UNSAFE");
          await expect(convert(plan, { force })).rejects.toMatchObject({ code: "TARGET_UNSAFE" });
        }
        expect(mkdir).not.toHaveBeenCalled();
      } finally {
        source.close();
        mkdir.mockRestore();
      }
    });
  });
});

it("a checkpoint with the ending of another kind of file is not replaced by a folder of that name", async () => {
  const target = join(scratch(), "pytorch_model.bin");
  const written = await converted(split.hf, join(scratch(), "model.pt"), { to: "raw" });
  fs.copyFileSync(written.to.path, target);
  await expect(converted(split.hf, target, { force: true })).rejects.toMatchObject({
    code: "TARGET_NAME",
    exitCode: 2,
  });
  await expect(converted(split.hf, target)).rejects.toMatchObject({ code: "TARGET_EXISTS", exitCode: 3 });
  expect(fs.statSync(target).isFile()).toBe(true);
});

it("the ending of another kind of file is wrong usage before the source is looked at", async () => {
  const source = writeSafetensors(join(scratch(), "unknown"), new Map());
  await expect(converted(source, join(scratch(), "x.gguf"))).rejects.toMatchObject({
    code: "TARGET_NAME",
    exitCode: 2,
  });
});
