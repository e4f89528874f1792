// The loopback Hub answers the real client as the Hub does.
import { downloadFile, listFiles, modelInfo, pathsInfo } from "@huggingface/hub";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { Hub } from "../helpers/hub/start.ts";

const NAME = "acme/tiny";
const WEIGHTS = Uint8Array.from({ length: 200_000 }, (_, index) => index % 251);
let hub: Hub;
let commit: string;

beforeAll(async () => {
  hub = await Hub.start({ pageSize: 2 });
  commit = await hub.put(
    NAME,
    { "config.json": Buffer.from("{}"), "model.safetensors": WEIGHTS, "sub/a.txt": Buffer.from("a") },
    { xet: true },
  );
  await hub.put("acme/hidden", { "config.json": Buffer.from("{}") }, { private: true });
  await hub.put("acme/gated", { "config.json": Buffer.from("{}") }, { gated: true });
  await hub.token("hf_reader", "read");
  await hub.token("hf_other", "ungranted");
});
afterAll(() => hub.stop());
beforeEach(() => hub.forget());

const at = (name: string, token?: string) => ({
  repo: name,
  hubUrl: hub.url,
  ...(token === undefined ? {} : { accessToken: token }),
});

test("a revision is a commit, and a tree comes in pages", async () => {
  const info = await modelInfo({ name: NAME, hubUrl: hub.url, revision: "main", additionalFields: ["sha"] });
  expect(info.sha).toBe(commit);
  const entries = [];
  for await (const entry of listFiles({ ...at(NAME), recursive: true, revision: commit })) entries.push(entry);
  expect(entries.map(({ type, path }) => [type, path])).toEqual([
    ["file", "config.json"],
    ["file", "model.safetensors"],
    ["directory", "sub"],
    ["file", "sub/a.txt"],
  ]);
  expect(entries[1]).toMatchObject({
    size: 200_000,
    lfs: { size: 200_000, oid: expect.stringMatching(/^[0-9a-f]{64}$/) },
  });
  const [found] = await pathsInfo({ ...at(NAME), paths: ["sub/a.txt", "none"], revision: commit, expand: true });
  expect(found).toMatchObject({ path: "sub/a.txt", size: 1, lastCommit: { id: commit } });
});

test.each([false, true])(
  "a range of a large file comes from another host, without the token (xet: %s)",
  async (xet) => {
    const blob = await downloadFile({ ...at(NAME, "hf_reader"), path: "model.safetensors", revision: commit, xet });
    const range = await blob!.slice(70_000, 140_001).arrayBuffer();
    expect(Buffer.from(range).equals(WEIGHTS.subarray(70_000, 140_001))).toBe(true);
    const seen = await hub.seen();
    const other = seen.filter(({ door }) => door === "cdn" || door === "cas");
    expect(other.length).toBeGreaterThan(0);
    expect(other.map(({ token }) => token)).not.toContain("hf_reader");
    expect(seen.filter(({ door }) => door === "resolve").map(({ token }) => token)).toContain("hf_reader");
  },
);

test("a small file comes from the Hub itself", async () => {
  const blob = await downloadFile({ ...at(NAME), path: "sub/a.txt", revision: "main" });
  expect(await blob!.text()).toBe("a");
});

test("what may not be seen is refused as the Hub refuses it", async () => {
  const info = (name: string, token?: string) =>
    modelInfo({ name, hubUrl: hub.url, ...(token === undefined ? {} : { accessToken: token }) });
  await expect(info("acme/hidden")).rejects.toMatchObject({ statusCode: 401 });
  await expect(info("acme/none", "hf_reader")).rejects.toMatchObject({ statusCode: 404 });
  await expect(info("acme/tiny", "hf_expired")).rejects.toMatchObject({ statusCode: 401 });
  await expect(info("acme/hidden", "hf_reader")).resolves.toMatchObject({ private: true });
  const gated = (token?: string) => downloadFile({ ...at("acme/gated", token), path: "config.json" });
  await expect(gated()).rejects.toMatchObject({ statusCode: 401 });
  await expect(gated("hf_other")).rejects.toMatchObject({ statusCode: 403 });
  await expect(gated("hf_reader")).resolves.not.toBeNull();
});

test("faults happen as often as they are asked for", async () => {
  await hub.faults({ door: "cdn", act: { cutAfter: 1000 } }, { door: "api", after: 1, act: { status: 503 } });
  const blob = await downloadFile({ ...at(NAME), path: "model.safetensors", revision: commit, xet: false });
  await expect(blob!.slice(0, 5000).arrayBuffer()).rejects.toThrow();
  await expect(blob!.slice(0, 5000).arrayBuffer()).resolves.toHaveProperty("byteLength", 5000);
  await modelInfo({ name: NAME, hubUrl: hub.url });
  await expect(modelInfo({ name: NAME, hubUrl: hub.url })).rejects.toMatchObject({ statusCode: 503 });
  await modelInfo({ name: NAME, hubUrl: hub.url });
  await hub.faults();
  const cut = (await hub.seen()).filter(({ door, bytes }) => door === "cdn" && bytes === 1000);
  expect(cut).toHaveLength(1);
});
