// The loopback Hub takes what the real client sends as the Hub does: large files first, then one commit.
import { commit, createRepo, uploadFiles } from "@huggingface/hub";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { Hub } from "../helpers/hub/start.ts";

const NAME = "acme/made";
const accessToken = "hf_writer";
const WEIGHTS = Uint8Array.from({ length: 250_000 }, (_, index) => (index * 7) % 253);
let hub: Hub;

beforeAll(async () => {
  hub = await Hub.start({ partBytes: 100_000 });
  await hub.token(accessToken, "write");
  await hub.token("hf_reader", "read");
  await createRepo({ repo: NAME, accessToken, hubUrl: hub.url, visibility: "private" });
});
afterAll(() => hub.stop());
beforeEach(() => hub.forget());

const upload = (token: string, path = "model.safetensors", parentCommit?: string) =>
  uploadFiles({
    repo: NAME,
    accessToken: token,
    hubUrl: hub.url,
    files: [
      { path, content: new Blob([WEIGHTS]) },
      { path: "config.json", content: new Blob(["{}"]) },
    ],
    ...(parentCommit === undefined ? {} : { parentCommit }),
  });

const puts = async () => (await hub.seen()).filter(({ door }) => door === "upload");

test("a large file goes to another host in parts, without the token, and is not asked for again", async () => {
  const first = await upload(accessToken);
  const sent = await puts();
  expect(sent.map(({ received }) => received)).toEqual([100_000, 100_000, 50_000]);
  expect(sent.map(({ token }) => token)).toEqual([null, null, null]);
  const repo = (await hub.repo(NAME))!;
  const { files } = repo.commits.get(first!.commit.oid)!;
  expect(Buffer.from(files.get("model.safetensors")!.content as Uint8Array).equals(WEIGHTS)).toBe(true);
  expect([repo.isPrivate, files.get("config.json")!.isLfs]).toEqual([true, false]);
  await hub.forget();
  await upload(accessToken, "copy.safetensors");
  expect(await puts()).toEqual([]);
});

test("who may not write, and a branch that went on, are refused", async () => {
  await expect(upload("hf_reader")).rejects.toMatchObject({ statusCode: 403 });
  await expect(upload("hf_nobody")).rejects.toMatchObject({ statusCode: 401 });
  const outdated = "0".repeat(40);
  await expect(upload(accessToken, "model.safetensors", outdated)).rejects.toMatchObject({ statusCode: 412 });
});

test("a commit needs what it points to, and a proposal changes no branch", async () => {
  const before = (await hub.repo(NAME))!.refs.get("main");
  const operations = [{ operation: "delete" as const, path: "none" }];
  const params = { repo: NAME, accessToken, hubUrl: hub.url, title: "t", operations };
  await expect(commit(params)).rejects.toMatchObject({ statusCode: 400 });
  const proposed = await commit({
    ...params,
    isPullRequest: true,
    operations: [{ operation: "delete", path: "config.json" }],
  });
  expect(proposed?.pullRequestUrl).toBe(`${hub.url}/${NAME}/discussions/1`);
  const { refs } = (await hub.repo(NAME))!;
  expect([refs.get("main"), refs.get("refs/pr/1")]).toEqual([before, proposed?.commit.oid]);
});
