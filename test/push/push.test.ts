// `push` against a Hub on this machine, through its own client.
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import * as library from "../../src/index.ts";
import { run } from "../cli/command.ts";
import { fixture } from "../helpers/fixtures.ts";
import { hubEnvironment } from "../helpers/hub/environment.ts";
import { Hub } from "../helpers/hub/start.ts";
import { scratch } from "../helpers/scratch.ts";

const { hf, native } = fixture("llama3/split");
const sharded = `${hf}-sharded`;
let hub: Hub;
let count = 0;
let place: string;
let name: string;

beforeAll(async () => {
  hub = await Hub.start({ partBytes: 60_000 });
  await hub.token("of-any-form", "write");
  await hub.token("hf_reader", "read");
});
afterAll(() => hub.stop());
beforeEach(async () => {
  count += 1;
  name = `acme/push-${count}`;
  place = `hf://${name}`;
  hubEnvironment({ HF_ENDPOINT: hub.url, HF_TOKEN: "of-any-form" });
  await hub.faults();
  await hub.forget();
});

/** A copy that a test may change. */
function copyOf(folder: string): string {
  const copy = join(scratch(), "model");
  cpSync(folder, copy, { recursive: true });
  return copy;
}

async function headOf(branch = "main") {
  const repo = (await hub.repo(name))!;
  return repo.commits.get(repo.refs.get(branch)!)!;
}

const bytesIn = ({ files }: Awaited<ReturnType<typeof headOf>>, path: string) =>
  Buffer.from(files.get(path)!.content as Uint8Array);
const textIn = (commit: Awaited<ReturnType<typeof headOf>>, path: string) => bytesIn(commit, path).toString();

const sent = async () => (await hub.seen()).filter(({ door }) => door === "upload");
const changes = (json: { changes: readonly { path: string; change: string }[] }) =>
  Object.fromEntries(json.changes.map(({ path, change }) => [path, change]));

describe("a repository that is not there", () => {
  it("is made, private, and gets all of a sharded model in one commit", async () => {
    const { code, json, stderr } = await run("push", sharded, place, "--json");
    expect([stderr, code]).toEqual(["", 0]);
    const [repo, commit] = [(await hub.repo(name))!, await headOf()];
    expect(json).toMatchObject({ verdict: "pass", created: "repository", commit: { id: commit.id }, confirmed: true });
    expect([repo.isPrivate, repo.commits.size]).toEqual([true, 2]);
    const names = [...commit.files.keys()].filter((path) => path !== "README.md" && path !== ".gitattributes");
    expect(names).toContain("model-00004-of-00004.safetensors");
    for (const path of names) expect(bytesIn(commit, path).equals(readFileSync(join(sharded, path)))).toBe(true);
    const card = textIn(commit, "README.md");
    expect(card).toMatch(/^---\nlibrary_name: transformers\n---\n\n# push-1\n\n<!-- convert-checkpoint: begin/);
    expect(card).toContain(json.seal.root);
    expect(card).toContain("no report of parity, check or gate that passed was given");
    expect((await sent()).map(({ token }) => token)).not.toContain("of-any-form");
    expect(await run("validate", sharded, "--quiet")).toMatchObject({ code: 0 });
  });

  it("is public where that is asked for; a branch is made empty", async () => {
    expect(await run("push", hf, `${place}@step-1`, "--public", "--quiet")).toMatchObject({ code: 0 });
    expect((await hub.repo(name))!.isPrivate).toBe(false);
    expect([...(await headOf()).files.keys()]).toEqual([".gitattributes"]);
    expect((await headOf("step-1")).files.has("model.safetensors")).toBe(true);
  });

  it("is not made by a proposal", async () => {
    const { code, stderr } = await run("push", hf, place, "--pr");
    expect(code).toBe(3);
    expect(stderr).toMatch(/^error\[HUB_NOT_FOUND\]/);
  });
});

it("is a call of the library, too", async () => {
  const checkpoint = library.openCheckpoint(hf);
  const options = { adapters: library.adapters, settings: library.hubSettings() };
  const { commit, seconds: _, ...pushed } = await library.push(checkpoint, library.parseHubAddress(place), options);
  checkpoint.close();
  expect(commit!.id).toBe((await headOf()).id);
  const { json } = await run("push", hf, place, "--dry-run", "--json");
  expect(json.card).toBe(pushed.card);
  expect(library.pushDocument({ ...pushed, commit, seconds: 0 }).title).toBe("push");
});

describe("what is pushed again", () => {
  it("is nothing where the repository holds it", async () => {
    await run("push", hf, place, "--quiet");
    await hub.forget();
    const { code, json } = await run("push", hf, place, "--json");
    expect(code).toBe(0);
    expect(json).toMatchObject({ commit: null, created: null, confirmed: true });
    expect((await hub.repo(name))!.commits.size).toBe(2);
    expect(await sent()).toEqual([]);
  });

  it("is what differs alone", async () => {
    const folder = copyOf(hf);
    await run("push", folder, place, "--quiet");
    writeFileSync(join(folder, "generation_config.json"), "{}");
    await hub.forget();
    const refused = await run("push", folder, place);
    expect(refused.code).toBe(3);
    expect(refused.stdout).toContain("replaced     generation_config.json");
    expect(refused.stderr).toMatch(/^error\[PUSH_REPLACES\].*\n/);
    expect((await hub.repo(name))!.commits.size).toBe(2);
    const { code, json } = await run("push", folder, place, "--force", "--json");
    expect(code).toBe(0);
    expect(changes(json)).toMatchObject({ "generation_config.json": "replaced", "model.safetensors": "same" });
    expect(await sent()).toEqual([]);
    expect(textIn(await headOf(), "generation_config.json")).toBe("{}");
  });
});

describe("a repository with other content", () => {
  const CARD = "---\nlicense: mit\ntags:\n- own\n---\n\n# Mine\n\nWords.\n";
  const others = () => ({
    "README.md": Buffer.from(CARD),
    "notes.txt": Buffer.from("notes"),
    "model-00001-of-00002.safetensors": Buffer.from("old"),
    "pytorch_model.bin": Buffer.from("old"),
    "onnx/model.safetensors": Buffer.from("other"),
    "adapter_model.safetensors": Buffer.from("adapter"),
    "config.json": Buffer.from("{}"),
  });

  it("is shown as it would be, and stays", async () => {
    const parent = await hub.put(name, others());
    const { code, json } = await run("push", hf, place, "--dry-run", "--json");
    expect(code).toBe(0);
    expect(json).toMatchObject({ dryRun: true, commit: null, parent, confirmed: false });
    expect(changes(json)).toEqual({
      "README.md": "section",
      "notes.txt": "kept",
      "model-00001-of-00002.safetensors": "deleted",
      "pytorch_model.bin": "deleted",
      "onnx/model.safetensors": "kept",
      "adapter_model.safetensors": "kept",
      "config.json": "replaced",
      "generation_config.json": "added",
      "model.safetensors": "added",
    });
    expect(await run("push", hf, place)).toMatchObject({ code: 3 });
    expect((await headOf()).id).toBe(parent);
    expect((await hub.seen()).filter(({ method }) => method !== "GET" && method !== "HEAD")).toEqual([]);
  });

  it("keeps with --force what is no part of a checkpoint, and the card but for our section", async () => {
    const parent = await hub.put(name, others());
    const { code, stdout } = await run("push", hf, place, "--force");
    expect(code).toBe(0);
    expect(stdout).toContain("deleted      pytorch_model.bin");
    const commit = await headOf();
    expect(commit.parent).toBe(parent);
    expect([...commit.files.keys()].sort()).toEqual([
      "README.md",
      "adapter_model.safetensors",
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "notes.txt",
      "onnx/model.safetensors",
    ]);
    expect(textIn(commit, "README.md")).toMatch(new RegExp(`^${CARD}\\n<!-- convert-checkpoint: begin`));
  });

  it("is left alone by a pull request, which needs no more than to be read", async () => {
    const parent = await hub.put(name, others());
    process.env.HF_TOKEN = "hf_reader";
    const { code, json } = await run("push", hf, place, "--pr", "--json");
    expect(code).toBe(0);
    expect(json.pullRequest).toBe(`${hub.url}/${name}/discussions/1`);
    expect(json.confirmed).toBe(true);
    expect((await headOf()).id).toBe(parent);
    expect((await headOf("refs/pr/1")).files.has("model.safetensors")).toBe(true);
  });

  it("may have a card and a licence, or other folders, without --force", async () => {
    const document = { "README.md": Buffer.from(CARD), LICENSE: Buffer.from("MIT") };
    await hub.put(name, { ...document, "v1/model.safetensors": Buffer.from("old") });
    const { code, json } = await run("push", hf, `${place}/v2`, "--json");
    expect(code).toBe(0);
    expect(Object.keys(changes(json)).every((path) => path.startsWith("v2/"))).toBe(true);
    await hub.put(`${name}-b`, document);
    expect(await run("push", hf, `${place}-b`, "--quiet")).toMatchObject({ code: 0 });
  });
});

describe("what cannot be pushed", () => {
  const refusals: readonly (readonly [string, readonly string[], Readonly<Record<string, string>>, number, string])[] =
    [
      ["a name without hf://", ["acme/x"], {}, 2, "PUSH_PLACE"],
      ["a commit", [`hf://acme/x@${"a".repeat(40)}`], {}, 2, "PUSH_PLACE"],
      ["no place", [], {}, 2, "ARGUMENT_MISSING"],
      ["a place for a dataset", ["hf://datasets/acme/x"], {}, 2, "PUSH_PLACE"],
      ["no token", ["hf://acme/x"], { HF_TOKEN: "" }, 4, "HUB_TOKEN_MISSING"],
      ["an expired token", ["hf://acme/x"], { HF_TOKEN: "hf_old" }, 4, "HUB_TOKEN_REFUSED"],
      ["a token that may only read", ["hf://acme/x"], { HF_TOKEN: "hf_reader" }, 4, "HUB_FORBIDDEN"],
      ["no network", ["hf://acme/x"], { HF_HUB_OFFLINE: "1" }, 4, "HUB_OFFLINE"],
    ];
  it.each(refusals)("%s", async (_name, args, env, exit, code) => {
    hubEnvironment({ HF_ENDPOINT: hub.url, HF_TOKEN: "of-any-form", ...env });
    const ran = await run("push", hf, ...args);
    expect(ran.stderr).toMatch(new RegExp(`^error\\[${code}\\]`));
    expect(ran.code).toBe(exit);
    expect(ran.stderr).toContain("help: ");
  });

  it("a file, which would take along what is beside it", async () => {
    const ran = await run("push", join(hf, "model.safetensors"), place);
    expect([ran.code, ran.stderr.slice(0, 24)]).toEqual([2, "error[PUSH_NOT_A_FOLDER]"]);
    const card = await run("push", join(hf, "model.safetensors"), "--card");
    expect(card.code).toBe(2);
  });

  it("hidden files and litter stay here, links that lead away are refused", async () => {
    const folder = copyOf(hf);
    writeFileSync(join(folder, ".env"), "SECRET=1");
    mkdirSync(join(folder, ".git"));
    writeFileSync(join(folder, ".git", "HEAD"), "x");
    writeFileSync(join(folder, "download.incomplete"), "x");
    writeFileSync(join(folder, "figure.png"), "x");
    const { json } = await run("push", folder, place, "--json");
    expect(json.leftOut).toEqual([".env", ".git/", "download.incomplete"]);
    expect((await headOf()).files.has("figure.png")).toBe(true);
    rmSync(join(folder, "figure.png"));
    symlinkSync("/etc/hostname", join(folder, "figure.png"));
    expect(await run("push", folder, place)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("LINK_OUTSIDE"),
    });
  });

  it("a trainer's checkpoint goes with its metadata, whose name is hidden", async () => {
    const { code, json } = await run("push", native, place, "--json");
    expect(code).toBe(0);
    expect((await headOf()).files.has(".metadata")).toBe(true);
    expect(json.seal).toBeNull();
    expect(textIn(await headOf(), "README.md")).toContain("its identity: no seal was computed");
  });
});
