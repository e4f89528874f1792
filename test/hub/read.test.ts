// What is moved of a repository: headers by range, payload straight into the conversion, each byte once.
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { planSafetensors } from "../../src/formats/safetensors/write.ts";
import { run } from "../cli/command.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { hubEnvironment } from "../helpers/hub/environment.ts";
import { filesOf } from "../helpers/hub/files.ts";
import { Hub } from "../helpers/hub/start.ts";
import { scratch } from "../helpers/scratch.ts";

const HF = join(FIXTURES, "demo/hf");
let hub: Hub;
let commit: string;

beforeAll(async () => {
  hub = await Hub.start();
  commit = await hub.put("acme/demo", filesOf(HF));
});
afterAll(() => hub.stop());
beforeEach(async () => {
  hubEnvironment({ HF_ENDPOINT: hub.url });
  await hub.faults();
  await hub.forget();
});

const bytesOf = (target: string): string => readFileSync(join(target, "__0_0.distcp")).toString("base64");

async function converted(source: string, ...options: string[]): Promise<string> {
  const target = join(scratch(), "target");
  expect(await run("convert", source, target, ...options)).toMatchObject({ code: 0, stderr: "" });
  return target;
}

test("a conversion writes the same bytes as from disk, and says which commit it read", async () => {
  const target = join(scratch(), "target");
  const { json } = await run("convert", "hf://acme/demo", target, "--json");
  expect(json).toMatchObject({ verdict: "pass", from: { path: "hf://acme/demo", commit } });
  expect(bytesOf(target)).toBe(bytesOf(await converted(HF)));
  const record = JSON.parse(readFileSync(join(target, "convert-checkpoint.json"), "utf8"));
  expect(record.from.source).toBe(`hf://acme/demo@${commit}`);
  // And back from there, as from any other target.
  const back = join(scratch(), "back");
  expect(await run("convert", target, back)).toMatchObject({ code: 0, stderr: "" });
  expect(readFileSync(join(back, "model.safetensors")).equals(readFileSync(join(HF, "model.safetensors")))).toBe(true);
});

test("no byte is fetched twice, and the branch is looked up once", async () => {
  await hub.put("acme/once", filesOf(HF));
  await hub.forget();
  await converted("hf://acme/once");
  const seen = await hub.seen();
  expect(seen.filter(({ path }) => path.includes("/revision/"))).toHaveLength(1);
  const payload = seen.filter(({ door }) => door === "cdn").reduce((sum, { bytes }) => sum + bytes, 0);
  const lfs = ["model.safetensors", "tokenizer.json"].map((name) => readFileSync(join(HF, name)).length);
  expect(payload).toBe(lfs.reduce((sum, each) => sum + each));
});

/** A checkpoint of empty weights: 30 shards of 1.5 GB, whose headers are of 10 kB to 200 kB. */
function sparse(): {
  readonly directory: string;
  readonly headers: number;
  readonly index: number;
  readonly bytes: number;
} {
  const directory = scratch();
  const tensors = Array.from({ length: 9000 }, (_, i) => ({
    key: `model.layers.${String(i).padStart(5, "0")}.${"x".repeat(i % 900 < 800 ? 10 : 300)}.weight`,
    dtype: "BF16" as const,
    shape: [1024, 2448],
  }));
  const sums = { directory, headers: 0, index: 0, bytes: 0 };
  for (const { name, byteLength, parts } of planSafetensors(tensors, { metadata: null, maxShardSize: 1.5e9 })) {
    const file = openSync(join(directory, name), "w");
    let written = 0;
    for (const part of parts) if (part.kind === "bytes") written += writeSync(file, part.bytes);
    ftruncateSync(file, byteLength);
    closeSync(file);
    if (name.endsWith(".json")) sums.index = written;
    else sums.headers += Math.max(written, 65_536);
    sums.bytes += byteLength;
  }
  return sums;
}

test("headers alone are moved of a repository whose weights nobody reads", async () => {
  const { directory, headers, index, bytes } = sparse();
  expect(bytes).toBeGreaterThan(40e9);
  await hub.put("acme/sparse", filesOf(directory));
  await hub.forget();
  const { code, json } = await run("inspect", "hf://acme/sparse", "--json");
  expect([code, json.tensors.length]).toEqual([0, 9000]);
  const seen = await hub.seen();
  const moved = seen.reduce((sum, each) => sum + each.bytes, 0);
  expect(moved).toBeGreaterThanOrEqual(headers + index);
  expect(moved).toBeLessThan(headers + index + 20_000);
  // One range a shard, and another one where the header is longer than that; each is asked of the Hub and of its storage.
  expect(seen.length).toBeLessThan(4 * 31 + 10);
});

test("a conversion that broke is continued from another commit of the same files", async () => {
  await hub.put("acme/moving", filesOf(HF));
  const target = join(scratch(), "target");
  await hub.faults({ door: "cdn", after: 5, times: 1000, act: { status: 429, headers: { "Retry-After": "9999" } } });
  expect(await run("convert", "hf://acme/moving", target)).toMatchObject({ code: 4 });
  await hub.faults();
  // Another run looks the branch up anew: here it is asked for by another name.
  const moved = await hub.put("acme/moving", { ...filesOf(HF), "README.md": Buffer.from("# moved") });
  const { code, stderr } = await run("convert", `hf://acme/moving@${moved}`, target, "--resume");
  expect([code, stderr]).toEqual([0, ""]);
  expect(bytesOf(target)).toBe(bytesOf(await converted(HF)));
});

test("a target is on disk", async () => {
  const { code, stderr } = await run("convert", HF, "hf://acme/there");
  expect(code).toBe(2);
  expect(stderr).toContain("error[TARGET_ADDRESS]");
});
