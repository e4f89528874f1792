// A push that is killed, as a process: the repository holds nothing of it, and the next one sends what is missing.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { hubEnvironment } from "../helpers/hub/environment.ts";
import { ownSharded } from "../helpers/hub/own-copy.ts";
import { Hub } from "../helpers/hub/start.ts";
import { COMMAND } from "./command.ts";

const NAME = "acme/killed";
let hub: Hub;

beforeAll(async () => {
  hub = await Hub.start({ partBytes: 60_000 });
  await hub.token("hf_writer", "write");
});
afterAll(() => hub.stop());
beforeEach(() => hubEnvironment({ HF_ENDPOINT: hub.url, HF_TOKEN: "hf_writer" }));

const started = (folder: string): ChildProcess =>
  spawn(process.execPath, [COMMAND, "push", folder, `hf://${NAME}`, "--no-seal", "--json"], { stdio: "pipe" });

const sent = async () => (await hub.seen()).filter(({ door }) => door === "upload");
const objectOf = ({ path }: { readonly path: string }) => path.slice("/lfs/".length, "/lfs/".length + 64);

async function ended(child: ChildProcess): Promise<number | null> {
  const [code] = (await once(child, "exit")) as [number | null];
  return code;
}

test.each(["SIGKILL", "SIGINT"] as const)("%s in the middle of a shard", async (signal) => {
  const parent = await hub.put(NAME, { "README.md": Buffer.from(`# ${signal}\n`) });
  const last = signal === "SIGKILL" ? 5 : 0;
  await hub.faults({ door: "upload", after: last, times: 99, act: { takeOnly: 10_000, hangs: true } });
  await hub.forget();
  const folder = ownSharded();
  const child = started(folder);
  while (child.exitCode === null) {
    const all = await sent();
    if (all.length > last && all.at(-1)!.received >= 10_000 && all.slice(0, last).every(({ status }) => status === 200))
      break;
    await sleep(10);
  }
  // What has all its parts is put together by one more request.
  await sleep(150);
  child.kill(signal);
  expect(await ended(child)).toBe(signal === "SIGKILL" ? null : 130);
  const repo = (await hub.repo(NAME))!;
  expect(repo.refs.get("main")).toBe(parent);
  const first = await sent();
  const unfinished = new Set(first.filter(({ status }) => status !== 200).map(objectOf));
  await hub.faults();
  await hub.forget();
  expect(await ended(started(folder))).toBe(0);
  const again = await sent();
  expect(new Set(again.map(objectOf))).toEqual(unfinished);
  const done = (await hub.repo(NAME))!;
  expect(done.commits.get(done.refs.get("main")!)!.parent).toBe(parent);
});
