// What goes wrong between here and the Hub: what may pass is waited for, and nothing else than the file's own bytes is taken.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { run } from "../cli/command.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { hubEnvironment } from "../helpers/hub/environment.ts";
import type { Act, Fault } from "../helpers/hub/faults.ts";
import { filesOf } from "../helpers/hub/files.ts";
import { Hub } from "../helpers/hub/start.ts";
import { scratch } from "../helpers/scratch.ts";

const HF = join(FIXTURES, "demo/hf");
const WEIGHTS = "model\\.safetensors";
let hub: Hub;
let expected: string;
let source: string;
let repositories = 0;

beforeAll(async () => {
  hub = await Hub.start();
  await hub.token("hf_reader", "read");
});
afterAll(() => hub.stop());
beforeEach(async () => {
  hubEnvironment({ HF_ENDPOINT: hub.url, HF_TOKEN: "hf_reader" });
  // A repository of its own for each test: what was fetched of one is not fetched again.
  repositories += 1;
  await hub.faults();
  await hub.put(`acme/demo-${repositories}`, filesOf(HF));
  await hub.forget();
  source = `hf://acme/demo-${repositories}`;
});

async function payloadOf(path: string): Promise<string> {
  const target = join(scratch(), "target");
  const { code, stderr } = await run("convert", path, target);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return readFileSync(join(target, "__0_0.distcp")).toString("base64");
}

async function convertsRightly(...faults: Fault[]): Promise<void> {
  expected ??= await payloadOf(HF);
  await hub.faults(...faults);
  expect(await payloadOf(source)).toBe(expected);
}

/** Requests for payload are counted from the first: those of the beginnings of files come before. */
const ofPayload = (after: number, times: number, act: Act): Fault => ({ door: "cdn", after, times, act });

describe("a conversion is right in spite of", () => {
  test("a Hub that refuses for a while", () =>
    convertsRightly(
      { door: "api", path: "/revision/", act: { status: 429, headers: { "Retry-After": "0" } } },
      { door: "api", path: "/tree/", act: { status: 500 } },
      { door: "resolve", path: WEIGHTS, act: { status: 429, headers: { RateLimit: '"resolvers";r=0;t=0' } } },
      { door: "resolve", path: WEIGHTS, after: 3, times: 2, act: { status: 502, body: "<html>bad gateway</html>" } },
      { door: "api", path: "resolve-cache.*config", act: { status: 504 } },
    ));

  test("storage that fails, and addresses of it that are no longer good", () =>
    convertsRightly(
      ofPayload(1, 2, { status: 503 }),
      ofPayload(4, 1, { status: 403, body: "signature expired" }),
      ofPayload(6, 1, { reset: true }),
    ));

  test("answers that break off", () =>
    convertsRightly(
      { door: "api", path: "/tree/", act: { cutAfter: 100 } },
      { door: "api", path: "resolve-cache.*config", act: { cutAfter: 5 } },
      ofPayload(1, 2, { cutAfter: 1000 }),
      ofPayload(5, 1, { shortBy: 10 }),
    ));

  test("answers to another question", () =>
    convertsRightly(ofPayload(1, 1, { shiftRange: 64 }), ofPayload(3, 3, { ignoreRange: true })));
});

test("a server is left alone as long as it asks for", async () => {
  await hub.faults({ door: "resolve", path: WEIGHTS, act: { status: 429, headers: { "Retry-After": "1" } } });
  const begun = Date.now();
  await payloadOf(source);
  expect(Date.now() - begun).toBeGreaterThanOrEqual(1000);
});

test("after a cut, no byte is fetched again", async () => {
  await hub.faults({ door: "cdn", after: 1, act: { cutAfter: 5000 } });
  await payloadOf(source);
  const seen = await hub.seen();
  const cut = seen.find(({ door, bytes }) => door === "cdn" && bytes === 5000)!;
  const [, first] = /bytes=(\d+)-/.exec(cut.range!)!;
  const next = seen.slice(seen.indexOf(cut) + 1).find(({ door, range }) => door === "cdn" && range !== null)!;
  expect(next.range).toMatch(new RegExp(`^bytes=${Number(first) + 5000}-`));
});

/** The command's error; nothing of a target is there. */
async function failure(...faults: Fault[]) {
  await hub.faults(...faults);
  const folder = scratch();
  const { code, json } = await run("convert", source, join(folder, "target"), "--json");
  expect(existsSync(join(folder, "target"))).toBe(false);
  return { exit: code, ...json.error, left: readdirSync(folder) };
}

const ALWAYS = 1000;
const payload = (act: Act): Fault => ({ door: "cdn", after: 1, times: ALWAYS, act });

describe("a conversion ends without a target where", () => {
  test("the etag of the weights changes", async () => {
    const fault = { door: "resolve", path: WEIGHTS, after: 3, times: ALWAYS, act: { etag: "f".repeat(64) } } as const;
    expect(await failure(fault)).toMatchObject({ exit: 3, code: "FILE_CHANGED", file: `${source}/model.safetensors` });
  });

  test("the weights are not those of the list", async () => {
    const fault = { door: "resolve", path: WEIGHTS, times: ALWAYS, act: { etag: "e".repeat(64) } } as const;
    expect(await failure(fault)).toMatchObject({ exit: 3, code: "FILE_CHANGED", found: "e".repeat(64) });
  });

  test("a small file has another content than its hash", async () => {
    const fault = { path: "resolve-cache.*/config.json", times: ALWAYS, act: { wrongBytes: true } } as const;
    expect(await failure(fault)).toMatchObject({ exit: 3, code: "FILE_CHANGED", file: `${source}/config.json` });
  });

  test("the token is no longer good", async () => {
    const fault = { door: "resolve", path: WEIGHTS, after: 2, times: ALWAYS, act: expired } as const;
    const found = await failure(fault);
    expect(found).toMatchObject({ exit: 4, code: "HUB_TOKEN_REFUSED" });
    expect(found.found).toContain("expired");
    expect(found.help).toContain("HF_TOKEN");
  });

  test("the server asks to be left alone for hours", async () => {
    const fault = payload({ status: 429, headers: { "Retry-After": "7200" } });
    expect(await failure(fault)).toMatchObject({ exit: 4, code: "HUB_FAILS" });
  });
});

const answers = (body: string): Act => ({ status: 200, headers: { "Content-Type": "application/json" }, body });

test.each([
  ["/revision/", "<html>log in</html>"],
  ["/revision/", "null"],
  ["/tree/", "{}"],
  ["/tree/", "[null]"],
  ["/tree/", '[{"type":"file","path":"config.json","size":"many"}]'],
])("whoever answers %s with %s is no Hub", async (path, body) => {
  const found = await failure({ door: "api", path, times: ALWAYS, act: answers(body) });
  expect(found).toMatchObject({ exit: 4, code: "HUB_FAILS", file: source, left: [] });
  expect(found.help).toContain("HF_ENDPOINT");
});

const expired: Act = {
  status: 401,
  headers: { "X-Error-Message": 'User Access Token "ci" is expired', "Content-Type": "application/json" },
  body: "{}",
};
