// What goes wrong under way: it is waited for, or said, and the repository is never in between.
import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { run } from "../cli/command.ts";
import { fixture } from "../helpers/fixtures.ts";
import { hubEnvironment } from "../helpers/hub/environment.ts";
import type { Fault } from "../helpers/hub/faults.ts";
import { ownSharded } from "../helpers/hub/own-copy.ts";
import { Hub } from "../helpers/hub/start.ts";
import { scratch } from "../helpers/scratch.ts";

const { hf, native } = fixture("llama3/split");
let sharded: string;
let hub: Hub;
let count = 0;
let name: string;
let place: string;
let parent: string;

beforeAll(async () => {
  hub = await Hub.start({ partBytes: 60_000 });
  await hub.token("hf_writer", "write");
});
afterAll(() => hub.stop());
beforeEach(async () => {
  count += 1;
  name = `acme/faults-${count}`;
  place = `hf://${name}`;
  hubEnvironment({ HF_ENDPOINT: hub.url, HF_TOKEN: "hf_writer" });
  await hub.faults();
  sharded = ownSharded();
  parent = await hub.put(name, { "README.md": Buffer.from("# Mine\n") });
  await hub.forget();
});

const commits = async () => (await hub.repo(name))!.commits.size;
const headOf = async () => (await hub.repo(name))!.refs.get("main");
const pushed = (...options: string[]) => run("push", sharded, place, "--no-seal", "--json", ...options);

describe("what passes", () => {
  const passing: readonly (readonly [string, readonly Fault[]])[] = [
    [
      "429 with Retry-After",
      [{ method: "POST", path: "preupload", act: { status: 429, headers: { "Retry-After": "1" } } }],
    ],
    ["an answer to the commit that is lost", [{ path: "/commit/", act: { lost: "after" } }]],
    ["an address of the storage that ran out", [{ door: "upload", act: { status: 403, body: "Request has expired" } }]],
    [
      "5xx everywhere",
      [
        { method: "GET", path: "/revision/", act: { status: 500 } },
        { method: "POST", path: "batch", act: { status: 503 } },
        { door: "upload", act: { status: 500 } },
        { method: "POST", path: "/commit/", act: { status: 502 } },
      ],
    ],
  ];
  it.each(passing)("%s", async (_name, faults) => {
    await hub.faults(...faults);
    const { code, json, stderr } = await pushed();
    expect([stderr, code]).toEqual(["", 0]);
    expect(json).toMatchObject({ confirmed: true, commit: { id: await headOf() }, parent });
    expect(await commits()).toBe(2);
  });
});

describe("what does not pass leaves the repository as it was", () => {
  const failing: readonly (readonly [string, readonly Fault[], number, string, string])[] = [
    [
      "a token that expires before the commit",
      [{ method: "POST", path: "/commit/", times: 99, act: { status: 401 } }],
      4,
      "HUB_TOKEN_REFUSED",
      "not sent again",
    ],
    [
      "a server that wants to be left alone for an hour",
      [{ method: "POST", path: "batch", act: { status: 429, headers: { "Retry-After": "3600" } } }],
      4,
      "HUB_FAILS",
      "later",
    ],
    [
      "what the Hub does not take",
      [{ method: "POST", path: "/commit/", act: { status: 400, body: "quota exceeded" } }],
      3,
      "HUB_REFUSES",
      "quota exceeded",
    ],
  ];
  it.each(failing)("%s", async (_name, faults, exit, code, words) => {
    await hub.faults(...faults);
    const ran = await pushed();
    expect(ran.stderr).toMatch(new RegExp(`^error\\[${code}\\]`));
    expect(ran.stderr).toContain(words);
    expect(ran.stderr).not.toContain("signature");
    expect(ran.code).toBe(exit);
    expect([await headOf(), await commits()]).toEqual([parent, 1]);
    await hub.faults();
    await hub.forget();
    expect(await pushed("--quiet")).toMatchObject({ code: 0 });
    if (code !== "HUB_FAILS") expect((await hub.seen()).filter(({ door }) => door === "upload")).toEqual([]);
  });

  it("a commit of somebody else's meanwhile", async () => {
    await hub.faults({ method: "POST", path: "preupload", act: { delayMs: 1000 } });
    const running = pushed();
    while (!(await hub.seen()).some(({ path }) => path.includes("preupload"))) await sleep(20);
    const other = await hub.put(name, { "README.md": Buffer.from("# Mine\n"), "a.txt": Buffer.from("a") });
    const { code, stderr } = await running;
    expect(stderr).toMatch(/^error\[HUB_MOVED_ON\]/);
    expect(code).toBe(3);
    expect(await headOf()).toBe(other);
  });
});

describe("answers that no Hub gives are told as such, and nothing is committed", () => {
  it.each([
    ["preupload", "<html>log in</html>"],
    ["info/lfs", "null"],
    ["/commit/", "{}"],
  ])("%s: %s", async (path, body) => {
    await hub.faults({ method: "POST", path, times: 9, act: { status: 200, body } });
    const { code, json } = await pushed();
    expect(json.error).toMatchObject({ code: "HUB_FAILS", file: place, help: expect.stringContaining("HF_ENDPOINT") });
    expect([code, await headOf()]).toEqual([4, parent]);
  });
});

it("a file that changes while others are sent is in no commit", async () => {
  await hub.faults({ method: "POST", path: "info/lfs", act: { delayMs: 400 } });
  const running = pushed();
  while (!(await hub.seen()).some(({ path }) => path.includes("info/lfs"))) await sleep(20);
  appendFileSync(join(sharded, "config.json"), "\n");
  const { code, json } = await running;
  expect(json.error).toMatchObject({ code: "FILE_CHANGED", file: join(sharded, "config.json") });
  expect([code, await headOf()]).toEqual([3, parent]);
});

it("a card that is not UTF-8 is not written over by one whose bytes were replaced", async () => {
  const latin = await hub.put(name, { "README.md": Buffer.from("# Modèle\n", "latin1") });
  const { code, json } = await pushed();
  expect(json.error).toMatchObject({ code: "TEXT_NOT_UTF8", file: `${place}/README.md` });
  expect([code, await headOf()]).toEqual([3, latin]);
});

it("an adapter that stays is told: it would be loaded in place of the weights", async () => {
  await hub.put(name, { "adapter_config.json": Buffer.from("{}"), "adapter_model.safetensors": Buffer.from("mine") });
  const { json } = await pushed("--force");
  expect(json.notes).toContainEqual(expect.stringMatching(/^adapter_config\.json stays there/));
  expect((await hub.repo(name))!.commits.get(json.commit.id)!.files.has("adapter_config.json")).toBe(true);
});

/** While the answer to what makes a place waits, somebody else has made and filled it. */
it.each([
  ["a repository", "/repos/create", {}, ""],
  ["a branch", "/branch/", { ref: "dev" }, "@dev"],
])("%s that somebody else makes meanwhile is not written over", async (what, path, setup, at) => {
  const id = what === "a branch" ? name : `${name}-new`;
  const files = { "model-00001-of-00009.safetensors": Buffer.from("theirs") };
  await hub.faults({ method: "POST", path, act: { delayMs: 400 } });
  const running = run("push", sharded, `hf://${id}${at}`, "--no-seal", "--json");
  while (!(await hub.seen()).some((seen) => seen.path.includes(path))) await sleep(20);
  const theirs = await hub.put(id, files, setup);
  const { code, json } = await running;
  expect(json.error).toMatchObject({ code: "HUB_MOVED_ON", found: Object.keys(files)[0] });
  expect(code).toBe(3);
  expect((await hub.repo(id))!.refs.get(at.slice(1) || "main")).toBe(theirs);
});

describe("convert --push", () => {
  it("tells what was converted, and what was not verified", async () => {
    const target = join(scratch(), "model");
    const { code, json, stderr } = await run("convert", native, target, "--config", hf, "--push", place, "--json");
    expect([stderr, code]).toEqual(["", 0]);
    expect(json).toMatchObject({ family: "llama3", push: { confirmed: true, parent, seal: { root: json.seal.root } } });
    const card = String(json.push.card);
    expect(card).toContain("| source | `native`, not on the Hub, layout torchtitan, dcp |");
    expect(card).toContain("every tensor has its place");
    expect(card).toContain("that it computes what its source computes: no report of");
    expect(await headOf()).toBe(json.push.commit.id);
  });

  it("is refused before anything is written", async () => {
    await hub.put(name, { "model.safetensors": Buffer.from("other") });
    const target = join(scratch(), "model");
    const refused = await run("convert", native, target, "--config", hf, "--push", place);
    expect(refused.stderr).toMatch(/^error\[PUSH_REPLACES\]/);
    expect(await run("inspect", target, "--quiet")).toMatchObject({ code: 3 });
    const file = await run("convert", native, `${target}.safetensors`, "--config", hf, "--push", place);
    expect(file.stderr).toMatch(/^error\[PUSH_NOT_A_FOLDER\]/);
    const alone = await run("convert", native, target, "--config", hf, "--pr");
    expect(alone.stderr).toMatch(/^error\[PUSH_NOTHING\]/);
    const part = await run("convert", native, target, "--config", hf, "--card", "--part", "1/2");
    expect(part.stderr).toMatch(/^error\[PUSH_OF_PART\]/);
  });

  it("keeps the conversion where the push fails, and says how to go on", async () => {
    await hub.faults({ method: "POST", path: "preupload", times: 99, act: { status: 401 } });
    const target = join(scratch(), "model");
    const failed = await run("convert", native, target, "--config", hf, "--push", place);
    expect(failed.code).toBe(4);
    expect(failed.stderr).toContain(`\`push ${target} ${place}\` does the rest`);
    await hub.faults();
    expect(await run("push", target, place, "--quiet")).toMatchObject({ code: 0 });
  });

  it("--card writes the card alone", async () => {
    const target = join(scratch(), "model");
    const { code, json } = await run("convert", native, target, "--config", hf, "--card", "--json");
    expect(code).toBe(0);
    expect(json.push).toBeUndefined();
    expect(json.card).toBe(join(target, "README.md"));
    expect(readFileSync(json.card, "utf8")).toContain("every tensor has its place");
    expect((await hub.seen()).length).toBe(0);
  });
});
