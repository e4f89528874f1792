import childProcess from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { xxhash64 } from "hash-wasm";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { ConvertCheckpointError } from "../../src/base/errors.ts";
import { type ExecuteJob, executeOutput } from "../../src/output/execute.ts";
import { homeOf } from "../../src/output/home.ts";
import { readJournal } from "../../src/output/journal.ts";
import { hashesFor } from "../../src/views/identity/hash-thread.ts";
import { SMALLEST_SAFETENSORS } from "../helpers/checkpoints.ts";
import { buildChild, runChild } from "./build-child.ts";
import type { ChildOptions } from "./execute-child.ts";
import { expectedFiles, plannedFiles, produceBytes, STEP } from "./execute-plan.ts";

const SMALL = 300_000;
/** Three steps and a half. */
const LARGE = STEP * 3.5;

let tools: string;
let folder: string;
let target: string;

beforeAll(async () => {
  tools = fs.mkdtempSync(join(tmpdir(), "execute-tools-"));
  await buildChild(tools);
});
afterAll(() => fs.rmSync(tools, { recursive: true }));
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), "execute-"));
  target = join(folder, "target");
});
afterEach(() => {
  vi.restoreAllMocks();
  fs.rmSync(folder, { recursive: true });
});

const job = (more: Partial<ExecuteJob> = {}, bytes = SMALL): ExecuteJob => ({
  files: plannedFiles(bytes),
  produce: produceBytes,
  stepBytes: STEP,
  targetDir: target,
  ...more,
});

/** Files of a folder by name. */
function contents(path: string): Record<string, Buffer> {
  const files = fs.readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files.map((entry) => {
      const file = join(entry.parentPath, entry.name);
      return [file.slice(path.length + 1), fs.readFileSync(file)];
    }),
  );
}

function expectFiles(bytes: number): void {
  const found = contents(target);
  const expected = expectedFiles(bytes);
  expect(Object.keys(found).sort()).toEqual(Object.keys(expected));
  for (const [name, buffer] of Object.entries(expected)) expect(found[name]?.equals(buffer), name).toBe(true);
  expect(fs.readdirSync(folder)).toEqual(["target"]);
}

async function failure(promise: Promise<unknown>): Promise<ConvertCheckpointError> {
  const error = await promise.then(
    () => expect.fail("no error"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ConvertCheckpointError)) throw error;
  expect(error.details.help).not.toBe("");
  return error;
}

/** Runs until `killAt` bytes are done, where the process kills itself. */
function killedRun(bytes: number, killAt: number, more: Partial<ChildOptions> = {}): void {
  const { signal, stderr } = runChild(tools, { target, bytes, killAt, ...more });
  expect(signal, stderr).toBe("SIGKILL");
}

describe("a directory target", () => {
  it("gets all files, their sizes and hashes are reported, and nothing else is left", async () => {
    const seen: number[] = [];
    const written = await executeOutput(job({ onProgress: ({ bytes }) => seen.push(bytes) }));
    expectFiles(SMALL);
    const expected = expectedFiles(SMALL);
    for (const { name, bytes, xxh64 } of written) {
      expect(bytes).toBe(expected[name]?.length);
      expect(xxh64).toBe(await xxhash64(expected[name] ?? ""));
    }
    expect(written.map(({ name }) => name)).toEqual(["first.distcp", "folder/second.distcp", "empty.distcp"]);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(written.reduce((sum, { bytes }) => sum + bytes, 0));
  });

  it("is written in steps when it is large, with and without fsync", async () => {
    await executeOutput(job({ fsync: false }, LARGE));
    expectFiles(LARGE);
    const sync = vi.spyOn(fs, "fdatasync");
    await executeOutput(job({ force: true }, LARGE));
    expectFiles(LARGE);
    expect(sync.mock.calls.length).toBeGreaterThanOrEqual(2);
  });

  it("may lie in folders that do not exist yet, which go again on failure", async () => {
    target = join(folder, "a/b/target");
    const produce = () => {
      throw new Error("broken source");
    };
    await expect(executeOutput(job({ produce }))).rejects.toThrow("broken source");
    expect(fs.readdirSync(folder)).toEqual([]);
    await executeOutput(job());
    expect(fs.readdirSync(join(folder, "a/b"))).toEqual(["target"]);
  });
});

describe("a file target", () => {
  const single = (more: Partial<ExecuteJob> = {}): ExecuteJob => ({
    ...job({ files: plannedFiles(SMALL).slice(0, 1), ...more }),
    targetFile: target,
  });
  beforeEach(() => {
    target = join(folder, "model.safetensors");
  });

  it("is one file, and is replaced with force", async () => {
    await executeOutput(single());
    expect(fs.readFileSync(target).equals(expectedFiles(SMALL)["first.distcp"] ?? Buffer.alloc(0))).toBe(true);
    expect((await failure(executeOutput(single()))).code).toBe("TARGET_EXISTS");
    fs.writeFileSync(target, SMALLEST_SAFETENSORS);
    await executeOutput(single({ force: true }));
    expect(fs.statSync(target).size).toBe(expectedFiles(SMALL)["first.distcp"]?.length);
    expect(fs.readdirSync(folder)).toEqual(["model.safetensors"]);
  });

  it("takes the place of an empty folder", async () => {
    fs.mkdirSync(target);
    await executeOutput(single());
    expect(fs.statSync(target).isFile()).toBe(true);
  });
});

describe("an existing target", () => {
  it.each([
    [
      "a checkpoint",
      () => {
        fs.mkdirSync(target);
        fs.writeFileSync(join(target, "model.safetensors"), SMALLEST_SAFETENSORS);
      },
    ],
    ["a link to nothing", () => fs.symlinkSync("nowhere", target)],
  ])("%s is refused before anything is created, and replaced with force", async (_, make) => {
    make();
    const produce = vi.fn(produceBytes);
    const error = await failure(executeOutput(job({ produce })));
    expect([error.code, error.exitCode]).toEqual(["TARGET_EXISTS", 3]);
    expect(error.details.help).toContain("--force");
    expect(produce).not.toHaveBeenCalled();
    expect(fs.readdirSync(folder)).toEqual(["target"]);
    await executeOutput(job({ force: true }));
    expectFiles(SMALL);
  });

  it("an empty folder is filled without force, and stays when the run fails", async () => {
    fs.mkdirSync(target);
    const produce = () => {
      throw new Error("broken source");
    };
    await expect(executeOutput(job({ produce }))).rejects.toThrow("broken source");
    expect(fs.readdirSync(folder)).toEqual(["target"]);
    await executeOutput(job());
    expectFiles(SMALL);
  });

  it.each([false, true])(
    "an empty folder that gets a file during the run is left as it is, force: %s",
    async (force) => {
      fs.mkdirSync(target);
      const produce: typeof produceBytes = (...args) => {
        produceBytes(...args);
        fs.writeFileSync(join(target, "notes.txt"), "mine");
      };
      const error = await failure(executeOutput(job({ produce, force })));
      expect(error.code).toBe(force ? "TARGET_UNSAFE" : "TARGET_EXISTS");
      expect(contents(target)).toEqual({ "notes.txt": Buffer.from("mine") });
      expect(fs.readdirSync(folder)).toEqual(["target"]);
    },
  );

  it("an empty folder that is filled at the last moment is left as it is", async () => {
    fs.mkdirSync(target);
    const rename = fs.renameSync;
    vi.spyOn(fs, "renameSync").mockImplementation((from, to) => {
      if (to === target) fs.writeFileSync(join(target, "notes.txt"), "mine");
      rename(from, to);
    });
    expect((await failure(executeOutput(job()))).code).toBe("TARGET_EXISTS");
    expect(contents(target)).toEqual({ "notes.txt": Buffer.from("mine") });
  });

  it("a checkpoint that gets a foreign file during the run is left as it is", async () => {
    await executeOutput(job());
    const produce: typeof produceBytes = (...args) => {
      produceBytes(...args);
      fs.writeFileSync(join(target, "notes.txt"), "mine");
    };
    expect((await failure(executeOutput(job({ produce, force: true })))).code).toBe("TARGET_UNSAFE");
    expect(Object.keys(contents(target))).toContain("notes.txt");
    expect(fs.readdirSync(folder)).toEqual(["target"]);
  });

  it("is told of once it is replaced", async () => {
    const onReplaced = vi.fn();
    await executeOutput(job({ onReplaced }));
    expect(onReplaced).not.toHaveBeenCalled();
    await executeOutput(job({ onReplaced, force: true }));
    const files = ["empty.distcp", "first.distcp", "folder/second.distcp"];
    expect(onReplaced.mock.calls[0]?.[0]).toMatchObject({
      stood: { kind: "checkpoint", contents: { files } },
      left: null,
    });
  });

  it("stays as it was when the run fails, or when its replacement cannot be renamed", async () => {
    fs.mkdirSync(target);
    fs.writeFileSync(join(target, "old.distcp"), "old");
    const produce = () => {
      throw new Error("broken source");
    };
    await expect(executeOutput(job({ produce, force: true }))).rejects.toThrow("broken source");
    expect(contents(target)).toEqual({ "old.distcp": Buffer.from("old") });
    withoutExchange();
    const rename = fs.renameSync;
    vi.spyOn(fs, "renameSync").mockImplementation((from, to) => {
      if (to === target && `${from}`.includes("/swap-")) throw systemError("EACCES");
      rename(from, to);
    });
    expect((await failure(executeOutput(job({ force: true })))).code).toBe("PERMISSION_DENIED");
    expect(contents(target)).toEqual({ "old.distcp": Buffer.from("old") });
    expect(fs.readdirSync(folder)).toEqual(["target"]);
  });

  it("that could not be deleted afterwards is refused before anything is written", async () => {
    await executeOutput(job());
    const locked = join(target, "folder");
    const access = fs.accessSync;
    vi.spyOn(fs, "accessSync").mockImplementation((path, mode) => {
      if (path === locked) throw systemError("EACCES");
      access(path, mode);
    });
    const produce = vi.fn(produceBytes);
    const error = await failure(executeOutput(job({ force: true, produce })));
    expect([error.code, error.details.file]).toEqual(["PERMISSION_DENIED", locked]);
    expect(produce).not.toHaveBeenCalled();
    expectFiles(SMALL);
  });

  it("that turns out to be undeletable when it is replaced costs nothing but its remains, which are named", async () => {
    await executeOutput(job());
    const rm = fs.rmSync;
    const spy = vi.spyOn(fs, "rmSync").mockImplementation((path, options) => {
      if (`${path}`.includes("/gone-")) throw systemError("EACCES");
      rm(path, options);
    });
    const onReplaced = vi.fn();
    for (let times = 0; times < 2; times += 1) {
      await executeOutput(job({ force: true, resume: true, onReplaced }, SMALL + times));
      expect(contents(target)["first.distcp"]?.length).toBe(expectedFiles(SMALL + times)["first.distcp"]?.length);
      expect(onReplaced.mock.lastCall?.[0].left).toMatch(/\/gone-/);
    }
    expect(fs.readdirSync(folder).toSorted()).toEqual([".target.convert-checkpoint-partial", "target"]);
    spy.mockRestore();
    await executeOutput(job({ force: true }));
    expectFiles(SMALL);
  });

  it("that appears during the run is not replaced", async () => {
    const produce: typeof produceBytes = (...args) => {
      produceBytes(...args);
      fs.mkdirSync(target, { recursive: true });
    };
    expect((await failure(executeOutput(job({ produce })))).code).toBe("TARGET_EXISTS");
    expect(contents(target)).toEqual({});
    expect(fs.readdirSync(folder)).toEqual(["target"]);
  });

  it("that holds the source or the current directory is never replaced", async () => {
    fs.mkdirSync(join(target, "source"), { recursive: true });
    fs.symlinkSync(target, join(folder, "link"));
    for (const path of [join(target, "source"), join(folder, "link", "source"), target]) {
      expect((await failure(executeOutput(job({ force: true, reads: [path] })))).code).toBe("TARGET_UNSAFE");
    }
    target = process.cwd();
    expect((await failure(executeOutput(job({ force: true })))).code).toBe("TARGET_UNSAFE");
    target = "/";
    expect((await failure(executeOutput(job({ force: true })))).code).toBe("TARGET_UNSAFE");
  });
});

/** As on systems and disks that cannot exchange two names at once. */
const withoutExchange = () => vi.spyOn(childProcess, "spawnSync").mockReturnValue({} as never);

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: simulated`), { code, syscall: "write" });
}

describe("the environment", () => {
  it.each([
    ["ENOSPC", "DISK_FULL"],
    ["EDQUOT", "DISK_QUOTA"],
    ["EROFS", "READ_ONLY"],
    ["EACCES", "PERMISSION_DENIED"],
    ["EFBIG", "FILE_TOO_LARGE"],
    ["EIO", "WRITE_FAILED"],
  ])("%s while writing: exit 4 and no trace", async (system, code) => {
    const write = fs.writeSync;
    let calls = 0;
    vi.spyOn(fs, "writeSync").mockImplementation((...args: unknown[]) => {
      calls += 1;
      if (calls > 1) throw systemError(system);
      return Reflect.apply(write, fs, args);
    });
    const error = await failure(executeOutput(job()));
    expect([error.code, error.exitCode]).toEqual([code, 4]);
    expect(error.message).toContain("first.distcp");
    expect(fs.readdirSync(folder)).toEqual([]);
  });

  it("a disk that fails at fdatasync or fsync fails the run", async () => {
    for (const [call, bytes] of [
      ["fdatasync", LARGE],
      ["fsync", SMALL],
    ] as const) {
      const spy = vi.spyOn(fs, call).mockImplementation((_, done) => done(systemError("EIO")));
      expect((await failure(executeOutput(job({}, bytes)))).code).toBe("WRITE_FAILED");
      expect(fs.readdirSync(folder)).toEqual([]);
      spy.mockRestore();
    }
  });

  it("short writes are continued", async () => {
    const write = fs.writeSync;
    vi.spyOn(fs, "writeSync").mockImplementation((...args: unknown[]) => {
      const [fd, bytes, offset, length, position] = args;
      return Reflect.apply(write, fs, [fd, bytes, offset, Math.min(Number(length), 10_001), position]);
    });
    await executeOutput(job());
    expectFiles(SMALL);
  });

  it("too little space is seen before anything is created", async () => {
    const { blocks, bsize } = fs.statfsSync(folder);
    const free = { ...fs.statfsSync(folder), blocks, bsize, bavail: Math.floor(SMALL / bsize) - 1 };
    vi.spyOn(fs, "statfsSync").mockReturnValue(free);
    const mkdir = vi.spyOn(fs, "mkdirSync");
    const error = await failure(executeOutput(job()));
    expect([error.code, error.exitCode]).toEqual(["DISK_FULL", 4]);
    expect(mkdir).not.toHaveBeenCalled();
  });

  it("a parent that is a file is refused", async () => {
    fs.writeFileSync(join(folder, "file"), "");
    target = join(folder, "file", "target");
    expect((await failure(executeOutput(job()))).code).toBe("TARGET_PATH_INVALID");
  });
});

describe("names from a damaged record", () => {
  it.each(["../x", "/x", "a//b", "", ".", "a/..", "C:x", "a\\b", "a\0"])("%j is refused", async (name) => {
    const files = [{ name, byteLength: 0, parts: [] }];
    expect((await failure(executeOutput(job({ files })))).code).toBe("OUTPUT_NAME_UNSAFE");
    expect(fs.readdirSync(folder)).toEqual([]);
  });

  it("a name twice is refused", async () => {
    const file = { name: "x", byteLength: 0, parts: [] };
    expect((await failure(executeOutput(job({ files: [file, file] })))).code).toBe("OUTPUT_NAME_TWICE");
  });
});

describe("mistakes of the caller are internal errors, not files", () => {
  it.each([
    ["a plan whose parts do not add up", { files: [{ name: "x", byteLength: 1, parts: [] }] }],
    ["too few bytes", { produce: () => undefined }],
  ])("%s", async (_, more) => {
    await expect(executeOutput(job(more))).rejects.toThrow(/parts have 0|got 0/);
    expect(fs.readdirSync(folder)).toEqual([]);
  });
});

it("gives no name to what a last look finds wrong", async () => {
  const verify = () => {
    expect(fs.readdirSync(folder)).not.toContain("target");
    throw new Error("a checksum differs");
  };
  await expect(executeOutput(job({ verify }))).rejects.toThrow("a checksum differs");
  expect(fs.readdirSync(folder)).toEqual([]);
});

describe("an aborted run", () => {
  it("leaves nothing where nothing is on disk yet", async () => {
    const signal = AbortSignal.abort(new Error("stopped"));
    const onKept = vi.fn();
    await expect(executeOutput(job({ signal, onKept }))).rejects.toThrow("stopped");
    expect(fs.readdirSync(folder)).toEqual([]);
    expect(onKept).not.toHaveBeenCalled();
  });

  it("leaves what can be continued, says so, and is continued", async () => {
    const controller = new AbortController();
    const onProgress = ({ bytes }: { bytes: number }) => bytes > STEP && controller.abort(new Error("stopped"));
    const onKept = vi.fn();
    const { signal } = controller;
    await expect(executeOutput(job({ onProgress, signal, onKept }, LARGE))).rejects.toThrow("stopped");
    expect(onKept).toHaveBeenCalledWith({ path: homeOf(target), bytes: expect.any(Number) });
    expect(onKept.mock.calls[0]?.[0].bytes).toBeGreaterThanOrEqual(STEP);
    const produce = vi.fn(produceBytes);
    await executeOutput(job({ resume: true, produce }, LARGE));
    expectFiles(LARGE);
    expect(produce.mock.calls[0]?.[1]).toBeGreaterThan(0);
  });

  it("is stopped soon where bytes come slowly, long before a step is full", async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const timer = setTimeout(() => controller.abort(new Error("stopped")), 60);
    let produced = 0;
    const produce: typeof produceBytes = (key, begin, end, sink) => {
      const until = performance.now() + 40;
      while (performance.now() < until);
      produced += end - begin;
      produceBytes(key, begin, end, sink);
    };
    await expect(executeOutput(job({ produce, signal, stepBytes: 2 ** 26 }, LARGE))).rejects.toThrow("stopped");
    clearTimeout(timer);
    expect(produced).toBeLessThan(2 ** 16);
  });

  it("is stopped while it reads what an earlier run wrote", async () => {
    killedRun(LARGE, STEP * 3);
    const controller = new AbortController();
    const onProgress = () => controller.abort(new Error("stopped"));
    const produce = vi.fn(produceBytes);
    const { signal } = controller;
    await expect(executeOutput(job({ resume: true, produce, onProgress, signal }, LARGE))).rejects.toThrow("stopped");
    expect(produce).not.toHaveBeenCalled();
  });
});

describe("a killed run", () => {
  it("leaves no target; the next run begins anew and leaves no trace of it", async () => {
    killedRun(LARGE, STEP * 1.5);
    expect(fs.readdirSync(folder)).toEqual([".target.convert-checkpoint-partial"]);
    await executeOutput(job());
    expectFiles(SMALL);
  });

  it("is continued from where the disk had it, with the same bytes and hashes", async () => {
    killedRun(LARGE, STEP * 2.2);
    const produced: [string, number][] = [];
    const produce: typeof produceBytes = (key, begin, end, sink) => {
      produced.push([key, begin]);
      produceBytes(key, begin, end, sink);
    };
    const written = await executeOutput(job({ produce, resume: true, hashes: hashesFor(0) }, LARGE));
    expectFiles(LARGE);
    expect(produced[0]?.[0]).toBe("large");
    expect(produced[0]?.[1]).toBeGreaterThanOrEqual(STEP);
    const found = contents(target);
    for (const { name, sha256 } of written)
      expect(sha256).toBe(createHash("sha256").update(found[name]!).digest("hex"));
    fs.renameSync(target, join(folder, "resumed"));
    expect(await executeOutput(job({ hashes: hashesFor(0) }, LARGE))).toEqual(written);
  });

  it("is continued when it is killed again, and when only the last file was missing", async () => {
    killedRun(LARGE, STEP * 1.2);
    killedRun(LARGE, STEP * 2.1, { resume: true });
    killedRun(LARGE, LARGE + 50, { resume: true });
    const produced: string[] = [];
    const produce: typeof produceBytes = (key, begin, end, sink) => {
      produced.push(key);
      produceBytes(key, begin, end, sink);
    };
    await executeOutput(job({ produce, resume: true }, LARGE));
    expectFiles(LARGE);
    expect(produced).toEqual(["other"]);
  });

  it("of another plan or other sources is refused with --resume", async () => {
    killedRun(LARGE, STEP * 1.5);
    for (const other of [job({ resume: true }, LARGE + 8), job({ resume: true, identity: "other" }, LARGE)]) {
      const error = await failure(executeOutput(other));
      expect([error.code, error.exitCode]).toEqual(["PARTIAL_OF_ANOTHER_PLAN", 3]);
    }
    await executeOutput(job({ resume: true }, LARGE));
    expectFiles(LARGE);
  });

  it("whose files were changed since is refused with --resume", async () => {
    killedRun(LARGE, STEP * 2.2);
    const file = join(homeOf(target), "out/first.distcp");
    const fd = fs.openSync(file, "r+");
    fs.writeSync(fd, Buffer.from([1, 2, 3]), 0, 3, 1000);
    fs.closeSync(fd);
    expect((await failure(executeOutput(job({ resume: true }, LARGE)))).code).toBe("PARTIAL_CHANGED");
  });

  it("whose journal ends in half a line is continued", async () => {
    killedRun(LARGE, STEP * 2.2);
    fs.appendFileSync(join(homeOf(target), "journal"), '\n{"file":0,"by');
    await executeOutput(job({ resume: true }, LARGE));
    expectFiles(LARGE);
  });

  it.each([
    ["beyond the end", { bytes: LARGE * 2 }, "PARTIAL_CHANGED"],
    ["of half a byte", { bytes: 0.5 }, null],
    ["of another digest", { bytes: STEP, xxh64: "0f".repeat(8) }, "PARTIAL_CHANGED"],
    ["of no digest", { bytes: STEP, xxh64: "" }, null],
    ["below zero", { bytes: -1 }, null],
  ])("whose journal has a record %s gives the right bytes, or none", async (_, record, code) => {
    killedRun(LARGE, STEP * 2.2);
    const home = homeOf(target);
    const last = [...readJournal(home).progress.values()][0];
    fs.appendFileSync(join(home, "journal"), `\n${JSON.stringify({ file: "first.distcp", ...last, ...record })}`);
    const path = join(home, "out/first.distcp");
    if (record.bytes > LARGE) fs.truncateSync(path, record.bytes);
    const run = executeOutput(job({ resume: true }, LARGE));
    if (code !== null) {
      const error = await failure(run);
      // Seen when it is read, not at the end.
      expect([error.code, error.message]).toEqual([code, expect.stringContaining("an earlier run wrote")]);
      return;
    }
    await run;
    expectFiles(LARGE);
  });

  it("whose folder holds a file of someone is refused, and that file stays", async () => {
    killedRun(LARGE, STEP * 2.2);
    const notes = join(homeOf(target), "notes.txt");
    fs.writeFileSync(notes, "mine");
    for (const more of [{}, { resume: true }, { force: true }]) {
      const error = await failure(executeOutput(job(more, LARGE)));
      expect([error.code, error.details.file]).toEqual(["PARTIAL_CHANGED", notes]);
    }
    fs.rmSync(notes);
    await executeOutput(job({ resume: true }, LARGE));
    expectFiles(LARGE);
  });

  it("publishes planned files alone, whatever came where they are made", async () => {
    killedRun(LARGE, STEP * 2.2);
    const out = join(homeOf(target), "out");
    fs.writeFileSync(join(out, "stray.safetensors"), "stray");
    fs.mkdirSync(join(out, "stray/within"), { recursive: true });
    fs.symlinkSync(tools, join(out, "folder"));
    fs.linkSync(join(tools, "child.mjs"), join(out, "empty.distcp"));
    const before = fs.readFileSync(join(tools, "child.mjs"));
    const produce: typeof produceBytes = (...args) => {
      produceBytes(...args);
      fs.writeFileSync(join(out, "late.safetensors"), "stray");
    };
    await executeOutput(job({ resume: true, produce }, LARGE));
    expectFiles(LARGE);
    expect(fs.readFileSync(join(tools, "child.mjs")).equals(before)).toBe(true);
  });

  it("does not publish a target that lacks a file", async () => {
    const verify = () => fs.rmSync(join(homeOf(target), "out/empty.distcp"));
    expect((await failure(executeOutput(job({ verify })))).code).toBe("PARTIAL_CHANGED");
    expect(fs.existsSync(target)).toBe(false);
  });
});

describe("a copy among the files", () => {
  const files = (copyOf: string) =>
    plannedFiles(LARGE).map((file) => (file.name.startsWith("folder") ? { ...file, copyOf } : file));

  it("that changed is made anew, and the rest is continued", async () => {
    const fail = () => {
      throw new Error("the copied file has changed");
    };
    const first = job({ resume: true, files: files("1"), verify: fail });
    await expect(executeOutput(first)).rejects.toThrow("has changed");
    const keys: string[] = [];
    const produce: typeof produceBytes = (key, ...rest) => {
      keys.push(key);
      produceBytes(key, ...rest);
    };
    await executeOutput(job({ resume: true, files: files("2"), produce }));
    expectFiles(LARGE);
    expect(keys).toEqual(["other"]);
  });
});

describe("an error of the source", () => {
  const produce: typeof produceBytes = (key, ...rest) => {
    if (key === "small") throw new Error("broken source");
    produceBytes(key, ...rest);
  };

  it.each([
    [{}, 0],
    [{ resume: true }, 1],
    [{ isUseful: (): boolean => true }, 1],
    [{ resume: true, isUseful: (): boolean => false }, 0],
  ])("with %j leaves %d folder to be continued", async (more, left) => {
    await expect(executeOutput(job({ produce, ...more }, LARGE))).rejects.toThrow("broken source");
    expect(fs.readdirSync(folder)).toHaveLength(left);
  });
});

it.each(["x".repeat(255), "𝄞".repeat(63), "x".repeat(240)])("a name as long as file systems take: %s", async (name) => {
  target = join(folder, name);
  await executeOutput(job());
  await executeOutput(job({ force: true }));
  expect(fs.readdirSync(folder)).toEqual([name]);
  expect(homeOf(target)).not.toBe(homeOf(`${target.slice(0, -2)}y`));
});

describe("two runs for one target", () => {
  it("the second is refused while the first runs, and the first is not disturbed", async () => {
    const first = executeOutput(job({}, LARGE));
    for (const more of [{}, { resume: true }, { force: true }]) {
      const error = await failure(executeOutput(job(more, LARGE)));
      expect([error.code, error.exitCode]).toEqual(["TARGET_BUSY", 3]);
    }
    await first;
    expectFiles(LARGE);
  });
});

it("with --resume a full disk leaves the work to be continued", async () => {
  const write = fs.writeSync;
  let left = LARGE - 1000;
  const spy = vi.spyOn(fs, "writeSync").mockImplementation((...args: unknown[]) => {
    left -= Number(args[3]);
    if (left < 0) throw systemError("ENOSPC");
    return Reflect.apply(write, fs, args);
  });
  expect((await failure(executeOutput(job({ resume: true }, LARGE)))).code).toBe("DISK_FULL");
  expect(fs.readdirSync(folder)).toEqual([".target.convert-checkpoint-partial"]);
  spy.mockRestore();
  const produce = vi.fn(produceBytes);
  await executeOutput(job({ resume: true, produce }, LARGE));
  expectFiles(LARGE);
  expect(produce.mock.calls[0]?.[1]).toBeGreaterThan(0);
});
