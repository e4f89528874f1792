// Parts as users and schedulers make them: `convert --part i/n` and `finalize`.
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { f32, readState, writeSafetensors } from "../helpers/checkpoints.ts";
import { fixture } from "../helpers/fixtures.ts";
import { filesOf } from "../helpers/parted.ts";
import { scratch } from "../helpers/scratch.ts";
import { run } from "./command.ts";

const { hf } = fixture("llama3/split");
const part = (source: string, target: string, which: string, ...options: string[]) =>
  run("convert", source, target, "--part", which, "--no-fsync", "--json", ...options);

test("parts are made in any order, again without harm, and joined", async () => {
  const target = join(scratch(), "native");
  const { code, json } = await part(hf, target, "2/2");
  expect(code).toBe(0);
  expect(json).toMatchObject({ verdict: "pass", part: { number: 2, of: 2, wasDone: false }, files: expect.any(Array) });
  expect((await run("finalize", target, "--dry-run", "--json")).json).toMatchObject({
    verdict: "fail",
    plans: [
      {
        of: 2,
        parts: [
          { number: 1, state: "missing" },
          { number: 2, state: "done" },
        ],
      },
    ],
  });
  const again = await part(hf, target, "2/2");
  expect(again.json.part.wasDone).toBe(true);
  expect(again.json.files).toEqual(json.files);
  expect((await part(hf, target, "1/2", "--resume")).code).toBe(0);
  expect((await run("finalize", target, "--dry-run")).code).toBe(0);
  const joined = await run("finalize", target, "--json");
  expect(joined.code).toBe(0);
  expect(joined.json.checks).toEqual(
    expect.arrayContaining([
      { name: "all parts are there, and of one plan", status: "passed", detail: "2 parts" },
      { name: "the bytes on disk are those that the parts wrote", status: "passed", detail: expect.any(String) },
    ]),
  );
  const single = join(scratch(), "native");
  const one = await run(hf, single, "--json");
  expect(filesOf(target)).toEqual(filesOf(single));
  expect(joined.json.files).toEqual(one.json.files);
  expect(joined.json.seal).toEqual(one.json.seal);
});

describe("finalize", () => {
  test("says which parts are missing, and that none are there", async () => {
    const target = join(scratch(), "native");
    expect((await run("finalize", target, "--json")).json.error).toMatchObject({ code: "PARTS_NONE" });
    await part(hf, target, "3/5");
    const { code, json } = await run("finalize", target, "--json");
    expect(code).toBe(3);
    expect(json.error).toMatchObject({ code: "PARTS_MISSING", found: "1; 1, 2, 4 and 5 not begun" });
    expect(json.error.help).toContain("1, 2, 4 and 5 of 5");
    expect(existsSync(target)).toBe(false);
  });

  test("replaces a checkpoint with --force alone, and then whole", async () => {
    const target = join(scratch(), "native");
    await run(hf, target, "--no-fsync");
    expect((await part(hf, target, "1/1")).json.error.code).toBe("TARGET_EXISTS");
    expect((await part(hf, target, "1/1", "--force", "--dtype", "f16")).code).toBe(0);
    const before = filesOf(target);
    expect((await run("finalize", target, "--json")).json.error.code).toBe("TARGET_EXISTS");
    expect(filesOf(target)).toEqual(before);
    expect((await run("finalize", target, "--force", "--json")).json.notes.at(-1)).toMatch(/^replaced: /);
    expect(filesOf(target)).not.toEqual(before);
  });
});

describe("a part of another plan is refused, with what differs", () => {
  test.each<[string, string[], string, RegExp]>([
    ["1/2", ["--dtype", "f16"], "2/2", /^others in --dtype \(f16 there, not given here\)/],
    ["1/2", [], "2/3", /^others in number of parts \(2 there, 3 here\)/],
    ["1/2", ["--ranks", "2"], "2/2", /^others in --ranks \(2 there, not given here\)/],
  ])("%s %j, then %s", async (first, options, second, found) => {
    const target = join(scratch(), "native");
    await part(hf, target, first, ...options);
    const { code, json } = await part(hf, target, second);
    expect(code).toBe(3);
    expect(json.error).toMatchObject({ code: "PARTS_OF_ANOTHER_PLAN", found: expect.stringMatching(found) });
    expect((await run("clean", target)).code).toBe(0);
    expect((await part(hf, target, second)).code).toBe(0);
  });

  test.each([
    ["another training", (length: number) => length >> 2, (length: number) => length],
    ["one weight that was changed", (length: number) => (length >> 1) + 5, (length: number) => (length >> 1) + 6],
  ])("a checkpoint of %s has the same headers, and other values", async (_what, from, to) => {
    const other = join(scratch(), "hf");
    cpSync(hf, other, { recursive: true });
    const name = readdirSync(other).find((each) => each.endsWith(".safetensors"))!;
    const bytes = readFileSync(join(other, name));
    for (let i = from(bytes.length); i < to(bytes.length); i += 1) bytes[i]! ^= 1;
    writeFileSync(join(other, name), bytes);
    const target = join(scratch(), "native");
    await part(hf, target, "1/2");
    const { json } = await part(other, target, "2/2");
    expect(json.error).toMatchObject({
      code: "PARTS_OF_ANOTHER_PLAN",
      found: expect.stringContaining("source's values"),
    });
  });

  test("the same checkpoint elsewhere, newer and of other inodes, is the same", async () => {
    const copy = join(scratch(), "copy");
    cpSync(hf, copy, { recursive: true });
    const target = join(scratch(), "native");
    await part(hf, target, "1/2");
    expect((await part(copy, target, "2/2")).code).toBe(0);
    expect((await run("finalize", target)).code).toBe(0);
  });

  test("by finalize, too, where two began at once", async () => {
    const [a, b] = [join(scratch(), "native"), join(scratch(), "native")];
    await part(hf, a, "1/2");
    await part(hf, b, "2/2", "--dtype", "f16");
    const hidden = (target: string) => join(target, "..", ".native.convert-checkpoint-parts");
    cpSync(hidden(b), hidden(a), { recursive: true });
    const { code, json } = await run("finalize", a, "--json");
    expect(code).toBe(3);
    expect(json.error.code).toBe("PARTS_OF_ANOTHER_PLAN");
    // One plan is whole: what began beside it is told, and goes.
    const other = await part(hf, a, "2/2");
    expect(other.json.error.code).toBe("PARTS_OF_ANOTHER_PLAN");
  });
});

test.each(["0/3", "4/3", "3", "a/b", "-1/3", "1/0", "1/200000"])("--part %s is wrong usage", async (which) => {
  const { code, json } = await run("convert", hf, join(scratch(), "native"), `--part=${which}`, "--json");
  expect(code).toBe(2);
  expect(json.error.help).toMatch(/1\/3/);
});

test("a part is wrong usage before anything is read, with --dry-run, too, and is no whole checkpoint to upload", async () => {
  const target = join(scratch(), "native");
  for (const [options, code] of [
    [["--part", "4/3", "--dry-run"], "PART_NUMBER"],
    [["--part", "1/3", "--push", "hf://me/model"], "PUSH_OF_PART"],
    [["--part", "1/3", "--card"], "PUSH_OF_PART"],
  ] as const) {
    const result = await run("convert", join(scratch(), "nowhere"), target, ...options, "--json");
    expect(result.code).toBe(2);
    expect(result.json.error.code).toBe(code);
  }
});

test("an outline that is gone comes back with any part that is run again", async () => {
  const target = join(scratch(), "native");
  for (const which of ["1/2", "2/2"]) await part(hf, target, which);
  const home = join(target, "../.native.convert-checkpoint-parts");
  rmSync(join(home, readdirSync(home).find((name) => name.startsWith("outline-"))!));
  expect((await run("finalize", target, "--json")).json.error.code).toBe("PARTS_DAMAGED");
  expect((await part(hf, target, "2/2")).json.part.wasDone).toBe(true);
  expect((await run("finalize", target)).code).toBe(0);
  expect((await run("finalize", target, "--json")).json.error.help).toContain("nothing is left to do");
});

test.each([
  ["validate", 0],
  ["convert", 0],
  ["diff", 1],
  ["push", 0],
] as const)("%s of what nobody joined tells of its parts", async (command, position) => {
  const target = join(scratch(), "native");
  await part(hf, target, "2/3");
  const others = { validate: [], convert: [join(scratch(), "hf")], diff: [hf], push: ["--card"] }[command];
  const { code, json } = await run(command, ...others.toSpliced(position, 0, target), "--json");
  expect(code).toBe(3);
  expect(json.error).toMatchObject({
    code: "NOT_FOUND",
    help: expect.stringContaining("part 2 of 3 done, 1 and 3 not"),
  });
});

test("inspect and clean tell of parts, and clean removes them", async () => {
  const target = join(scratch(), "native");
  await part(hf, target, "2/3");
  const { json } = await run("inspect", target, "--json");
  expect(json.error.help).toMatch(/parts of .*native: part 2 of 3 done, 1 and 3 not begun; `finalize` joins them/);
  const listed = await run("clean", join(target, ".."), "--dry-run", "--json");
  expect(listed.json.leftovers).toMatchObject([{ state: "unfinished", parts: "part 2 of 3 done, 1 and 3 not begun" }]);
  expect((await run("clean", target, "--json")).json.leftovers).toMatchObject([{ done: "removed" }]);
  expect(readdirSync(join(target, ".."))).toEqual([]);
});

describe("what one run finds, the parts find together", () => {
  const codes = async (source: string, of: number, ...options: string[]) => {
    const target = join(scratch(), "target");
    const found: string[] = [];
    for (let number = 1; number <= of; number += 1) {
      const { json } = await part(source, target, `${number}/${of}`, ...options);
      found.push(json.error?.code ?? "done");
    }
    const { json } = await run("finalize", target, "--json");
    return { found, end: json.error?.code ?? "done" };
  };

  test("an alias that does not equal its tensor", async () => {
    const { hf: tied } = fixture("llama3/fused-tied");
    const state = readState(tied);
    const embed = state.get("model.embed_tokens.weight")!;
    state.set("lm_head.weight", { ...embed, bytes: embed.bytes.map((byte, i) => (i === 100 ? byte ^ 1 : byte)) });
    const source = writeSafetensors(join(scratch(), "hf"), state, { config: join(tied, "config.json") });
    const { found, end } = await codes(source, 3);
    expect(found.toSorted()).toEqual(["TIE_BROKEN", "done", "done"]);
    expect(end).toBe("PARTS_MISSING");
  });

  test("a bit of the source that has changed, by its checksum", async () => {
    // So large that it lies between the values by which plans are told apart.
    const config = join(scratch(), "config.json");
    const json = JSON.parse(readFileSync(join(hf, "config.json"), "utf8"));
    writeFileSync(config, JSON.stringify({ ...json, vocab_size: 16_384 }));
    const [model, source] = [join(scratch(), "hf"), join(scratch(), "native")];
    await run("init", config, model, "--seed", "1", "--no-fsync");
    await run("convert", model, source, "--no-fsync");
    const name = readdirSync(source).find((each) => each.endsWith(".distcp"))!;
    const bytes = readFileSync(join(source, name));
    const at = Math.floor(bytes.length * 0.3);
    for (const i of [0, 1, 2, 3]) bytes[at + 64 * i]! ^= 1;
    writeFileSync(join(source, name), bytes);
    const one = await run(source, join(scratch(), "hf"), "--json");
    const { found, end } = await codes(source, 3);
    expect(one.json.error.code).toBe("CRC_MISMATCH");
    expect(found).toEqual(expect.arrayContaining(["CRC_MISMATCH", "done"]));
    expect(end).toBe("PARTS_MISSING");
  });

  test("a cast by which a tensor vanishes that no part sees whole, and one that overflows", async () => {
    const { hf: dense } = fixture("llama3/split");
    const state = readState(dense);
    const key = "model.embed_tokens.weight";
    const { shape } = state.get(key)!;
    const last = shape.reduce((n, size) => n * size, 1) - 1;
    const cases: [(i: number) => number, string, string[]][] = [
      [() => 1e-30, "CAST_UNDERFLOW", ["done", "done", "done"]],
      [(i) => (i === last ? 1e30 : 1), "PARTS_MISSING", ["CAST_OVERFLOW"]],
    ];
    for (const [value, end, found] of cases) {
      const changed = new Map(state).set(key, f32(shape, value));
      const source = writeSafetensors(join(scratch(), "hf"), changed, { config: join(dense, "config.json") });
      const result = await codes(source, 3, "--dtype", "f16", "--to", "hf", "--format", "safetensors");
      expect(result.end).toBe(end);
      expect(result.found).toEqual(expect.arrayContaining(found));
    }
  });
});
