// A commit whose large files go to Xet storage: in chunks, by the Hub's own client; the storage puts the files together from what it was
// sent, and takes none whose SHA-256 is another. Then the same files are read from there.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { HubClient } from "../../../src/hub/client.ts";
import { hubSettings } from "../../../src/hub/settings.ts";
import { commitFiles } from "../../../src/hub/upload/commit.ts";
import { makeRepository } from "../../../src/hub/upload/repository.ts";
import { SourceBlob } from "../../../src/hub/upload/source-blob.ts";
import type { Fault } from "../../helpers/hub/faults.ts";
import { Hub } from "../../helpers/hub/start.ts";

/** Of bf16 weights the high bytes are alike, so that they pack well; of noise nothing packs; zeros are one chunk, told of often. */
const SHARDS = [weights(700_001), noise(300_001), new Uint8Array(1 << 20)];
const names = SHARDS.map((_, i) => `model-0000${i + 1}-of-00003.safetensors`);
const total = SHARDS.reduce((sum, { length }) => sum + length, 0);
let hub: Hub;
let count = 0;

function noise(size: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state >>> 24;
  });
}

function weights(size: number): Uint8Array {
  return noise(size).map((byte, i) => (i % 2 === 0 ? byte : 0x3c | (byte & 1)));
}

beforeAll(async () => {
  hub = await Hub.start({ xetUploads: true });
  await hub.token("hf_writer", "write");
});
afterAll(() => hub.stop());
beforeEach(async () => {
  await hub.faults();
  await hub.forget();
  count += 1;
});

const settings = () => hubSettings({ HF_ENDPOINT: hub.url, HF_TOKEN: "hf_writer", HOME: "/nowhere" });

async function push(xet = true) {
  const repository = `acme/xet-${count}`;
  const signal = AbortSignal.timeout(60_000);
  if ((await hub.repo(repository)) === null) await makeRepository(settings(), repository, false, signal);
  const files = SHARDS.map((bytes, i) => {
    const own = Uint8Array.from(bytes);
    own[0] = count;
    return { path: names[i]!, bytes: own, blob: SourceBlob.of(sourceOf(own)) };
  });
  const made = await commitFiles(
    settings(),
    {
      ...{ repository, branch: "main", files, deleted: [], title: "weights", description: "" },
      ...{ parent: null, isPullRequest: false, xet },
    },
    { signal, onEvent: () => {}, promised: new Map() },
  );
  return { made, repository, files };
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

const sent = async (path: RegExp) => (await hub.seen()).filter((each) => each.method !== "GET" && path.test(each.path));
const bytesSent = async () => (await sent(/\/v1\/xorbs\//)).reduce((sum, { received }) => sum + received, 0);

test("chunks go to Xet storage, less than the files have, with its token alone; what is read from there is what was sent", async () => {
  const { made, repository, files } = await push();
  const head = (await hub.repo(repository))!.commits.get(made.commit)!;
  expect(names.map((name) => head.files.get(name)?.size)).toEqual(SHARDS.map(({ length }) => length));
  expect(await sent(/^\/lfs\//)).toEqual([]);
  expect(new Set((await sent(/\/v1\//)).map(({ token }) => token))).toEqual(new Set(["xet-write"]));
  expect(await bytesSent()).toBeGreaterThan(300_000);
  expect(await bytesSent()).toBeLessThan(0.6 * total);

  await hub.forget();
  // Reads as short as these come by plain ranges, unless those are refused.
  await hub.faults({ door: "cdn", times: 1000, act: { status: 400 } });
  const client = new HubClient(settings());
  const address = { type: "model", repository, revision: made.commit, path: "" } as const;
  const snapshot = await client.snapshot(address, "weights");
  for (const { path, bytes } of files) {
    const remote = { ...snapshot.files.get(path)!, snapshot, path, key: path, shown: path };
    for (const [begin, end] of [
      [0, bytes.length],
      [70_001, 230_000],
    ] as const) {
      const parts: Uint8Array[] = [];
      for await (const part of client.bytes(remote, begin, end)) parts.push(Uint8Array.from(part));
      expect(Buffer.concat(parts).equals(bytes.subarray(begin, end)), `${path} ${begin}`).toBe(true);
    }
  }
  const seen = await hub.seen();
  expect(seen.some(({ door }) => door === "cas")).toBe(true);
  expect(seen.filter(({ door, status }) => door === "cdn" && status !== 400)).toEqual([]);
});

const passing: readonly (readonly [string, Fault[]])[] = [
  [
    "5xx of the storage",
    [
      { path: "/v1/xorbs/", act: { status: 503 } },
      { path: "/v1/shards", act: { status: 500 } },
    ],
  ],
  ["a cut in the middle of a xorb", [{ path: "/v1/xorbs/", times: 2, act: { takeOnly: 100_000 } }]],
  ["no answer to which chunks are known", [{ path: "/v1/chunks/", times: 99, act: { status: 403 } }]],
];

test.each(passing)("%s: it waits, and goes on", async (_name, faults) => {
  await hub.faults(...faults);
  const { made, repository } = await push();
  expect((await hub.repo(repository))!.refs.get("main")).toBe(made.commit);
});

test("what the storage does not take ends it: the repository is as it was, and the next try sends what is not there", async () => {
  await hub.faults({ path: "/v1/shards", times: 99, act: { status: 400, body: "BadDigest" } });
  await expect(push()).rejects.toMatchObject({ statusCode: 400 });
  expect((await hub.repo(`acme/xet-${count}`))!.commits.size).toBe(1);
  await hub.faults();
  const { made, repository } = await push();
  expect((await hub.repo(repository))!.refs.get("main")).toBe(made.commit);
  await hub.forget();
  await push();
  expect(await bytesSent()).toBe(0);
});

test("bytes that change on their way are not stored under the hash of others", async () => {
  await hub.faults({ path: "/v1/xorbs/", times: 99, act: { flipped: 5000 } });
  await expect(push()).rejects.toMatchObject({ statusCode: 400 });
  expect((await hub.repo(`acme/xet-${count}`))!.commits.size).toBe(1);
});

test("where HF_HUB_DISABLE_XET says so nothing goes there", async () => {
  await push(false);
  expect(await sent(/\/v1\//)).toEqual([]);
  expect(await sent(/^\/lfs\//)).toHaveLength(3);
});
