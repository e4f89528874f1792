// One commit by the Hub's own client: what is there is not sent again, and nothing is seen before all of it is there.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { hubSettings } from "../../../src/hub/settings.ts";
import { type CommitRequest, commitFiles, type Promised } from "../../../src/hub/upload/commit.ts";
import { makeRepository } from "../../../src/hub/upload/repository.ts";
import { SourceBlob } from "../../../src/hub/upload/source-blob.ts";
import type { Fault } from "../../helpers/hub/faults.ts";
import { Hub } from "../../helpers/hub/start.ts";

const PART = 3 << 20;
/** The first is larger than what the client hashes at once. */
const SHARDS = [patterned((10 << 20) + 1, 7), patterned(200_001, 11), patterned(300_001, 13)];
let hub: Hub;
let count = 0;

function patterned(size: number, factor: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i += 1) bytes[i] = (i * factor) >> 3;
  return bytes;
}

beforeAll(async () => {
  hub = await Hub.start({ partBytes: PART });
  await hub.token("any-form", "write");
});
afterAll(() => hub.stop());
beforeEach(async () => {
  await hub.faults();
  await hub.forget();
  count += 1;
});

const access = (token = "any-form") => ({
  ...hubSettings({ HF_ENDPOINT: hub.url, HF_TOKEN: token, HOME: "/nowhere" }),
});

async function push(overrides: Partial<CommitRequest> = {}, token?: string, salt = 0) {
  const repository = `acme/commit-${count}`;
  const signal = AbortSignal.timeout(60_000);
  if ((await hub.repo(repository)) === null) await makeRepository(access(), repository, false, signal);
  const files = SHARDS.map((bytes, i) => {
    const own = Uint8Array.from(bytes);
    own[0] = salt;
    own[1] = count;
    return { path: `model-0000${i + 1}-of-00003.safetensors`, blob: SourceBlob.of(sourceOf(own)) };
  });
  const small = { path: "config.json", blob: new Blob(["{}"]) };
  const promised = new Map<string, Promised>();
  const request: CommitRequest = {
    ...{ repository, branch: "main", files: [...files, small], deleted: [], title: "weights", description: "" },
    ...{ parent: null, isPullRequest: false, xet: false },
    ...overrides,
  };
  const made = await commitFiles(access(token), request, { signal, onEvent: () => {}, promised });
  return { made, promised, repository, files };
}

function sourceOf(bytes: Uint8Array) {
  return {
    name: "weights",
    byteLength: bytes.length,
    version: "1",
    read: (position: number, target: Uint8Array) => target.set(bytes.subarray(position, position + target.length)),
    check: () => {},
    close: () => {},
  };
}

const sent = async () => (await hub.seen()).filter(({ door }) => door === "upload");

test("a sharded model is one commit, each shard by its hash, in parts", async () => {
  const { made, promised, repository } = await push();
  const repo = await hub.repo(repository);
  const head = repo!.commits.get(made.commit)!;
  expect([...head.files.keys()].sort()).toEqual([
    ".gitattributes",
    "config.json",
    ...[1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`),
  ]);
  expect(head.parent).not.toBeNull();
  for (const [path, file] of head.files) {
    if (path === ".gitattributes") continue;
    expect(promised.get(path)).toEqual(file.isLfs ? { sha256: file.sha256 } : { oid: file.oid });
  }
  const puts = await sent();
  expect(puts).toHaveLength(4 + 1 + 1);
  expect(puts.map(({ token }) => token)).toEqual(puts.map(() => null));
});

const passing: readonly (readonly [string, Fault[]])[] = [
  ["429 with Retry-After", [{ path: "preupload", act: { status: 429, headers: { "Retry-After": "1" } } }]],
  [
    "5xx of the API and of the storage",
    [
      { path: "/lfs/objects/batch", act: { status: 503 } },
      { door: "upload", after: 1, act: { status: 500 } },
      { path: "complete_multipart", act: { status: 502 } },
    ],
  ],
  ["a cut in the middle of a part", [{ door: "upload", after: 2, times: 2, act: { takeOnly: 100_000 } }]],
  ["no answer to the commit", [{ path: "/commit/", act: { lost: "before" } }]],
];

test.each(passing)("%s: it waits, and goes on", async (_name, faults) => {
  await hub.faults(...faults);
  const begin = performance.now();
  const { made, repository } = await push();
  expect((await hub.repo(repository))!.refs.get("main")).toBe(made.commit);
  if (_name.startsWith("429")) expect(performance.now() - begin).toBeGreaterThan(950);
});

test("what is there is not sent again", async () => {
  await hub.faults({ path: "/commit/", times: 99, act: { status: 400, body: "no" } });
  await expect(push()).rejects.toMatchObject({ statusCode: 400 });
  expect(await sent()).toHaveLength(6);
  await hub.faults();
  await hub.forget();
  await push();
  expect(await sent()).toHaveLength(0);
});

test("a token that expires under way ends it, and the repository is as it was", async () => {
  await hub.token("hf_short", "write");
  await hub.faults({ path: "/commit/", times: 99, act: { status: 401 } });
  const repository = `acme/commit-${count}`;
  await expect(push({}, "hf_short")).rejects.toMatchObject({ statusCode: 401 });
  expect((await hub.repo(repository))!.commits.size).toBe(1);
});

test("a file that changes while it is sent ends it with that fault", async () => {
  const source = sourceOf(Uint8Array.from(SHARDS[0]!));
  let reads = 0;
  const fault = new Error("changed");
  const changing = {
    ...source,
    read: (position: number, target: Uint8Array) => {
      reads += 1;
      if (reads > 30) throw fault;
      source.read(position, target);
    },
  };
  await expect(push({ files: [{ path: "model.safetensors", blob: SourceBlob.of(changing) }] })).rejects.toBe(fault);
});

test("a pull request is opened once, whatever becomes of the answer", async () => {
  const { repository } = await push();
  await hub.faults({ path: "create_pr=1", method: "POST", after: 1, times: 9, act: { lost: "after" } });
  await expect(push({ isPullRequest: true }, undefined, 1)).rejects.toThrow();
  const refs = [...(await hub.repo(repository))!.refs.keys()];
  expect(refs.filter((ref) => ref.startsWith("refs/pr/"))).toHaveLength(1);
});
