// What Xet storage keeps: large reads come by its own protocol, small ones by plain ranges, each the other way where one is closed.
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { planSafetensors } from "../../src/formats/safetensors/write.ts";
import { run } from "../cli/command.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { hubEnvironment } from "../helpers/hub/environment.ts";
import { filesOf } from "../helpers/hub/files.ts";
import { Hub } from "../helpers/hub/start.ts";
import { configOf, madeModel, shapesOf } from "../helpers/made-model.ts";
import { scratch } from "../helpers/scratch.ts";

/** Of small tensors alone. */
const SMALL = join(FIXTURES, "demo/hf");
const CONFIG = configOf(SMALL);
const LARGE = { ...CONFIG, vocab_size: 6144, num_hidden_layers: 1 };
let hub: Hub;
/** Two tensors of 2.4 MB beside small ones. */
let large: string;

beforeAll(async () => {
  hub = await Hub.start();
  large = mkdtempSync(join(tmpdir(), "convert-checkpoint-test-"));
  madeModel(large, LARGE);
  await hub.put("acme/small", filesOf(SMALL), { xet: true });
});
afterAll(async () => {
  rmSync(large, { recursive: true, force: true });
  await hub.stop();
});
beforeEach(async () => {
  hubEnvironment({ HF_ENDPOINT: hub.url });
  await hub.faults();
  await hub.forget();
});

/** Of folders that are converted for comparison. */
const known = new Map<string, Promise<string>>();

function expected(folder: string): Promise<string> {
  known.set(folder, known.get(folder) ?? converted(folder));
  return known.get(folder)!;
}

async function converted(source: string): Promise<string> {
  const target = join(scratch(), "target");
  expect(await run("convert", source, target)).toMatchObject({ code: 0, stderr: "" });
  return readFileSync(join(target, "__0_0.distcp")).toString("base64");
}

const seenAt = async (door: string) => (await hub.seen()).filter((each) => each.door === door);
const doors = async () => new Set((await hub.seen()).map(({ door }) => door));

const lengthOf = (range: string | null): number => {
  const [first = 0, last = 0] = (range ?? "").replace("bytes=", "").split("-").map(Number);
  return last - first + 1;
};

test("large reads come by its own protocol, small ones by plain ranges", async () => {
  await hub.put("acme/large", filesOf(large), { xet: true });
  await hub.forget();
  expect((await converted("hf://acme/large")) === (await expected(large))).toBe(true);
  const chunks = await seenAt("cas");
  expect(new Set(chunks.map(({ token }) => token))).toEqual(new Set(["xet-read", null]));
  const asked = chunks.filter(({ path }) => path.includes("reconstructions")).map(({ range }) => lengthOf(range));
  expect(asked.reduce((sum, each) => sum + each, 0)).toBeGreaterThan(3e6);
  expect(Math.min(...asked)).toBeGreaterThanOrEqual(1 << 20);
  const plain = (await seenAt("cdn")).map(({ range }) => lengthOf(range));
  expect(Math.max(...plain)).toBeLessThan(1 << 20);
});

test("a model of small tensors is moved once", async () => {
  await converted("hf://acme/small");
  expect(await doors()).not.toContain("cas");
  const moved = (await seenAt("cdn")).reduce((sum, { bytes }) => sum + bytes, 0);
  const kept = ["model.safetensors", "tokenizer.json"].map((name) => readFileSync(join(SMALL, name)).length);
  expect(moved).toBe(kept.reduce((sum, each) => sum + each));
});

/** Weights that nobody reads, in holes: shards of 2 MB with the names and shapes of a model. */
function sparse(): { readonly folder: string; readonly shards: number; readonly texts: number } {
  const folder = scratch();
  const sizes = { hidden_size: 192, head_dim: 32, intermediate_size: 1024, num_hidden_layers: 32 };
  const config = { ...CONFIG, ...sizes };
  const tensors = shapesOf(config).map((tensor) => ({ ...tensor, dtype: "BF16" as const }));
  const text = JSON.stringify(config);
  writeFileSync(join(folder, "config.json"), text);
  let [shards, texts] = [0, text.length];
  for (const { name, byteLength, parts } of planSafetensors(tensors, { metadata: null, maxShardSize: 2e6 })) {
    const file = openSync(join(folder, name), "w");
    for (const part of parts) if (part.kind === "bytes") writeSync(file, part.bytes);
    ftruncateSync(file, byteLength);
    closeSync(file);
    if (name.endsWith(".json")) texts += byteLength;
    else shards += 1;
  }
  return { folder, shards, texts };
}

test("the plan of a repository of many shards moves their headers, not chunks", async () => {
  const { folder, shards, texts } = sparse();
  expect(shards).toBeGreaterThan(20);
  await hub.put("acme/sparse", filesOf(folder), { xet: true });
  await hub.forget();
  expect(await run("plan", "hf://acme/sparse", "--json")).toMatchObject({ code: 0, stderr: "" });
  const seen = await hub.seen();
  const moved = seen.reduce((sum, { bytes }) => sum + bytes, 0);
  expect(moved).toBeLessThan(shards * 65_536 + texts + 500 * shards);
  // Each header is asked of the Hub and of its storage.
  expect(seen.length).toBeLessThan(2 * shards + 10);
});

test("files of one name in two repositories are two", async () => {
  const other = madeModel(join(scratch(), "other"), LARGE, (state) => state.get("lm_head.weight")!.bytes.fill(0));
  for (const [name, folder] of Object.entries({ one: large, other })) {
    await hub.put(`acme/${name}`, filesOf(folder), { xet: true });
    expect((await converted(`hf://acme/${name}`)) === (await expected(folder))).toBe(true);
  }
});

test("comes by plain ranges where that storage cannot be reached, which is tried once", async () => {
  await hub.put("acme/no-chunks", filesOf(large), { xet: true });
  await hub.faults({ door: "cas", times: 1000, act: { status: 403 } });
  expect((await converted("hf://acme/no-chunks")) === (await expected(large))).toBe(true);
  expect(await doors()).toContain("cas");
  await hub.forget();
  expect((await converted("hf://acme/no-chunks")) === (await expected(large))).toBe(true);
  expect(await doors()).not.toContain("cas");
});

test("comes by chunks where plain ranges are refused, which is tried once", async () => {
  await hub.put("acme/chunks", filesOf(SMALL), { xet: true });
  await hub.faults({ door: "cdn", times: 1000, act: { status: 400 } });
  expect((await converted("hf://acme/chunks")) === (await expected(SMALL))).toBe(true);
  expect(await doors()).toContain("cdn");
  await hub.forget();
  expect((await converted("hf://acme/chunks")) === (await expected(SMALL))).toBe(true);
  expect(await doors()).not.toContain("cdn");
});

test("where nothing is had by either way, what plain ranges are refused with is told", async () => {
  await hub.put("acme/neither", filesOf(SMALL), { xet: true });
  const told = (door: "cas" | "cdn", status: number) => ({ door, times: 1000, act: { status, body: `no ${door}` } });
  await hub.faults(told("cdn", 400), told("cas", 400));
  const { code, json } = await run("inspect", "hf://acme/neither", "--json");
  expect([code, json.error.code, json.error.found]).toEqual([4, "HUB_FAILS", expect.stringContaining("no cdn")]);
});

test("comes by plain ranges where HF_HUB_DISABLE_XET says so", async () => {
  hubEnvironment({ HF_ENDPOINT: hub.url, HF_HUB_DISABLE_XET: "1" });
  await hub.put("acme/off", filesOf(large), { xet: true });
  await hub.forget();
  await converted("hf://acme/off");
  expect(await doors()).not.toContain("cas");
});
