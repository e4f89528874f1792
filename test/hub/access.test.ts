// What may be seen and how the Hub is reached: tokens, gates, revisions, proxies, the cache and no network at all.
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { run } from "../cli/command.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { hubEnvironment } from "../helpers/hub/environment.ts";
import { filesOf } from "../helpers/hub/files.ts";
import { Hub } from "../helpers/hub/start.ts";
import { scratch } from "../helpers/scratch.ts";

const HF = join(FIXTURES, "demo/hf");
let hub: Hub;
let first: string;
let second: string;

beforeAll(async () => {
  hub = await Hub.start();
  first = await hub.put("acme/demo", { "config.json": Buffer.from("{}") });
  second = await hub.put("acme/demo", filesOf(HF));
  await hub.put("acme/private", filesOf(HF), { private: true });
  await hub.put("acme/gated", filesOf(HF), { gated: true });
  await hub.put("acme/data", filesOf(HF, "tiny"), { type: "dataset" });
  await hub.token("hf_reader", "read");
  await hub.token("hf_stranger", "ungranted");
});
afterAll(() => hub.stop());
beforeEach(() => hub.forget());

async function inspect(address: string, environment: Readonly<Record<string, string>> = {}) {
  hubEnvironment({ HF_ENDPOINT: hub.url, ...environment });
  const { code, json } = await run("inspect", address, "--json");
  return { exit: code, tensors: json.tensors?.length, ...json.error };
}

const FOUND = { exit: 0, tensors: 39 };

describe("a repository", () => {
  test.each([
    ["hf://acme/private", { HF_TOKEN: "hf_reader" }],
    ["hf://acme/gated", { HF_TOKEN: "hf_reader" }],
    ["hf://datasets/acme/data/tiny", {}],
    ["hf://acme/demo@main/model.safetensors", {}],
  ])("%s is read", async (address, environment) => {
    expect(await inspect(address, environment)).toEqual(FOUND);
  });

  test.each([
    ["hf://acme/private", {}, 3, "HUB_NOT_FOUND", "HF_TOKEN"],
    ["hf://acme/private", { HF_TOKEN: "hf_stranger" }, 3, "HUB_NOT_FOUND", "the token in HF_TOKEN"],
    ["hf://acme/none", { HF_TOKEN: "hf_reader" }, 3, "HUB_NOT_FOUND", "check the name"],
    ["hf://acme/demo", { HF_TOKEN: "hf_expired" }, 4, "HUB_TOKEN_REFUSED", "settings/tokens"],
    ["hf://acme/gated", {}, 4, "HUB_GATED", "/acme/gated"],
    ["hf://acme/gated", { HF_TOKEN: "hf_stranger" }, 4, "HUB_GATED", "/acme/gated"],
    ["hf://acme/demo@v9", {}, 3, "HUB_REVISION_NOT_FOUND", "/acme/demo/tree/main"],
    ["hf://acme/demo/modle.safetensors", {}, 3, "NOT_FOUND", "did you mean hf://acme/demo/model.safetensors?"],
    ["hf://acme", {}, 3, "HUB_ADDRESS", "hf://owner/name"],
  ])("%s %j is refused: %i %s", async (address, environment, exit, code, help) => {
    const found = await inspect(address, environment);
    expect(found).toMatchObject({ exit, code });
    expect(found.help).toContain(help);
  });

  test("is read as it was at a commit, whatever became of the branch", async () => {
    expect(await inspect(`hf://acme/demo@${first}`)).toMatchObject({ exit: 3, code: "NOT_A_CHECKPOINT" });
    expect(await inspect(`hf://acme/demo@${second}`)).toEqual(FOUND);
    const asked = (await hub.seen()).filter(({ door }) => door === "resolve").map(({ path }) => path);
    expect(asked.every((path) => path.includes(second))).toBe(true);
  });

  test("the token goes to the Hub, and to nobody else", async () => {
    await inspect("hf://acme/private@main", { HF_TOKEN: "hf_reader" });
    const seen = await hub.seen();
    const tokens = (isHub: boolean) =>
      new Set(seen.filter(({ door }) => (door === "cdn" || door === "cas") !== isHub).map(({ token }) => token));
    expect([...tokens(true)]).toEqual(["hf_reader"]);
    expect([...tokens(false)]).toEqual([null]);
  });

  test("one that cannot be reached is said to be so", async () => {
    const found = await inspect("hf://acme/demo", { HF_ENDPOINT: "http://127.0.0.1:47999" });
    expect(found).toMatchObject({ exit: 4, code: "HUB_UNREACHABLE" });
    expect(found.help).toContain("HF_HUB_OFFLINE=1");
  });
});

describe("a proxy", () => {
  test("is asked for all but what NO_PROXY names", async () => {
    expect(await inspect("hf://acme/demo", { HTTP_PROXY: hub.proxy })).toEqual(FOUND);
    const hosts = new Set((await hub.proxied()).map((address) => new URL(address).origin));
    expect(hosts).toEqual(new Set([hub.url, hub.cdn]));
    await hub.forget();
    expect(await inspect("hf://acme/demo", { http_proxy: hub.proxy, NO_PROXY: "127.0.0.1" })).toEqual(FOUND);
    expect(new Set((await hub.proxied()).map((address) => new URL(address).origin))).toEqual(new Set([hub.cdn]));
  });

  test("for https is asked to connect, and for http not at all", async () => {
    expect(await inspect("hf://acme/demo", { HTTPS_PROXY: hub.proxy })).toEqual(FOUND);
    expect(await hub.proxied()).toEqual([]);
    const secure = await inspect("hf://acme/demo", { HTTPS_PROXY: hub.proxy, HF_ENDPOINT: "https://127.0.0.1:47999" });
    expect(secure).toMatchObject({ exit: 4, code: "HUB_UNREACHABLE" });
    expect(new Set(await hub.proxied())).toEqual(new Set(["127.0.0.1:47999"]));
  });
});

test("a repository that holds a pointer in place of weights needs another help than a folder", async () => {
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"a".repeat(64)}\nsize 12345\n`;
  await hub.put("acme/pointer", { "model.safetensors": Buffer.from(pointer) });
  const found = await inspect("hf://acme/pointer");
  expect(found).toMatchObject({ exit: 3, code: "NOT_A_CHECKPOINT", help: expect.stringContaining("another revision") });
});

/** A cache as the Python client leaves it. */
async function cached(home: string, names: readonly string[]): Promise<void> {
  const root = join(home, "hub/models--acme--demo");
  mkdirSync(join(root, "blobs"), { recursive: true });
  mkdirSync(join(root, "refs"), { recursive: true });
  mkdirSync(join(root, "snapshots", second), { recursive: true });
  writeFileSync(join(root, "refs/main"), second);
  const { commits } = (await hub.repo("acme/demo"))!;
  for (const name of names) {
    const { oid, sha256, isLfs } = commits.get(second)!.files.get(name)!;
    const blob = isLfs ? sha256 : oid;
    cpSync(join(HF, name), join(root, "blobs", blob));
    symlinkSync(join("../../blobs", blob), join(root, "snapshots", second, name));
  }
}

describe("the cache", () => {
  test("has what it has: only the rest is fetched", async () => {
    const home = hubEnvironment({ HF_ENDPOINT: hub.url });
    await cached(home, ["model.safetensors", "tokenizer.json"]);
    const target = join(scratch(), "target");
    expect(await run("convert", "hf://acme/demo", target)).toMatchObject({ code: 0, stderr: "" });
    const fetched = (await hub.seen()).filter(({ door }) => door !== "api").map(({ path }) => path.split("/").at(-1));
    expect(fetched).toContain("config.json");
    expect(fetched.filter((name) => name?.startsWith("model") || name === "tokenizer.json")).toEqual([]);
    expect((await hub.seen()).filter(({ door }) => door === "cdn")).toEqual([]);
    // Nothing is written where nobody asked for it.
    expect(readdirSync(join(home, "hub/models--acme--demo/snapshots", second))).toHaveLength(2);
  });

  test("that has a part of it is said to, without a network", async () => {
    const home = hubEnvironment({ HF_ENDPOINT: "http://127.0.0.1:47999", HF_HUB_OFFLINE: "1" });
    await cached(home, ["config.json"]);
    const { code, json } = await run("inspect", "hf://acme/demo", "--json");
    expect([code, json.error.code]).toEqual([3, "NOT_A_CHECKPOINT"]);
    expect(json.error.help).toContain("HF_HUB_OFFLINE is set");
  });

  test("is all there is without a network", async () => {
    const home = hubEnvironment({ HF_ENDPOINT: "http://127.0.0.1:47999", HF_HUB_OFFLINE: "1" });
    await cached(home, readdirSync(HF));
    for (const address of ["hf://acme/demo", `hf://acme/demo@${second}`]) {
      const { code, json } = await run("inspect", address, "--json");
      expect([code, json.tensors.length]).toEqual([0, 39]);
    }
    for (const address of ["hf://acme/other", "hf://acme/demo@v2"]) {
      const { code, json } = await run("inspect", address, "--json");
      expect([code, json.error.code]).toEqual([4, "HUB_OFFLINE"]);
      expect(json.error.help).toContain("unset HF_HUB_OFFLINE");
    }
    expect(await hub.seen()).toEqual([]);
  });

  test("a file of another size is not the one", async () => {
    const home = hubEnvironment({ HF_ENDPOINT: hub.url });
    await cached(home, ["config.json"]);
    const [blob] = readdirSync(join(home, "hub/models--acme--demo/blobs"));
    writeFileSync(join(home, "hub/models--acme--demo/blobs", blob!), "{");
    expect(await run("inspect", "hf://acme/demo", "--json")).toMatchObject({ code: 0 });
    expect(existsSync(join(home, "hub/models--acme--demo/snapshots", second, "model.safetensors"))).toBe(false);
  });
});
