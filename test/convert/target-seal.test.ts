// What a conversion says its target is, against what `seal` finds there.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { convert } from "../../src/convert/convert.ts";
import { planConversion } from "../../src/convert/plan.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { recordIn } from "../../src/model/record.ts";
import { seal } from "../../src/verify/identity/seal.ts";
import { hashesFor } from "../../src/views/identity/hash-thread.ts";
import { opened } from "../helpers/checkpoints.ts";
import { converted, type Options } from "../helpers/converted.ts";
import { commandCases, encodedCases, FIXTURES, fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const sealed = async (path: string, config?: string) =>
  (await opened(path, (checkpoint) => seal(checkpoint, { adapters, config }))).seal;

const recordOf = (path: string) => opened(path, ({ folder }) => recordIn(folder));

describe.each(commandCases)("$name", ({ hf, hfs, native }) => {
  test("the record tells of the target as it is, there and back", async () => {
    for (const path of Object.values(hfs)) {
      const target = join(scratch(), "native");
      const made = await converted(path, target);
      const found = await sealed(target);
      expect(made.seal).toEqual({ root: found.root, config: found.config?.sha256, roundingOf: null });
      expect((await recordOf(target))?.seal).toEqual(made.seal);
      expect(found.root).toBe((await sealed(path)).root);
      const back = join(scratch(), "hf");
      const returned = await converted(target, back, { encoding: "none" });
      expect(returned.seal).toMatchObject({ root: (await sealed(back)).root });
    }
    const fresh = join(scratch(), "hf");
    const { seal: of } = await converted(native, fresh, { config: hf, encoding: "none" });
    expect(of?.root).toBe((await sealed(fresh)).root);
  });
});

describe("a target", () => {
  const { hf } = fixture("llama3/fused-tied");

  test("that was cast says of what", async () => {
    const target = join(scratch(), "native");
    const { seal: made } = await converted(hf, target, { dtype: ["bf16"] });
    const [before, after] = [await sealed(hf), await sealed(target)];
    expect(made).toMatchObject({ root: after.root, roundingOf: { root: before.root, dtypes: ["BF16"] } });
    expect(after.roundingOf).toEqual({ root: before.root, dtypes: ["BF16"] });
    expect(after.root).not.toBe(before.root);
  });

  test.each<[string, Options]>([
    ["cast, of Hugging Face", { to: "hf", format: "safetensors", dtype: ["bf16"] }],
    ["in parts cast", { dtype: ["*k_proj*=bf16"] }],
    ["of 3 ranks", { ranks: 3 }],
    ["of another trainer", { to: "vllm" }],
    ["of Hugging Face's keys in shards", { to: "hf", format: "safetensors", maxShardSize: 9_000 }],
  ])("%s is told as it is", async (_, options) => {
    const target = join(scratch(), "target");
    const { seal: made } = await converted(hf, target, options);
    expect(made?.root).toBe((await sealed(target, hf)).root);
  });

  test("of encoded weights, cast, is rounded once, and of codes is not told", async () => {
    for (const { hf: encoded } of encodedCases) {
      const wide = join(scratch(), "wide");
      const made = await converted(encoded, wide, { dtype: ["f16"] });
      expect(made.seal?.root).toBe((await sealed(wide)).root);
      const back = join(scratch(), "back");
      expect((await converted(encoded, back, { to: "hf" })).seal).toBeNull();
    }
  });

  test("of no known family is told by its own names", async () => {
    const target = join(scratch(), "raw.pt");
    const { seal: made } = await converted(hf, target, { to: "raw" });
    expect(made).toMatchObject({ config: null, roundingOf: null });
    expect(made?.root).toMatch(/^(?!0{64})[0-9a-f]{64}$/);
  });

  test("of files of ranks, which cut tensors by columns, is told as it is", async () => {
    const [whole, target] = [join(scratch(), "whole"), join(scratch(), "target")];
    await converted(join(FIXTURES, "meta/llama3"), whole);
    const { seal: made } = await converted(whole, target, { to: "meta", format: "pt", ranks: 2 });
    expect(made?.root).toBe((await sealed(whole)).root);
  });

  test("is not read again for its hashes where its tensors are copies", async () => {
    const stays = { to: "torchtitan" };
    for (const [path, options, times] of [
      [fixture("qwen3/split").hf, {}, 1],
      [fixture("qwen3/split").hf, { dtype: ["bf16"] }, 2],
      // Experts pass as parts of their stack.
      [fixture("qwen3_moe/untied").hf, {}, 1],
      // Within a trainer's layout, too.
      [fixture("qwen3/split").native, { ...stays, config: fixture("qwen3/split").hf }, 1],
      [fixture("qwen3/split").native, { ...stays, config: fixture("qwen3/split").hf, dtype: ["bf16"] }, 2],
      [fixture("qwen3_moe/untied").native, { ...stays, config: fixture("qwen3_moe/untied").hf }, 1],
    ] as const) {
      const source = openCheckpoint(path);
      const read = vi.spyOn(source, "read");
      const target = join(scratch(), "native");
      const plan = planConversion(source, target, { adapters, ...options });
      read.mockClear();
      const { seal: made } = await convert(plan, { fsync: false });
      source.close();
      const all = [...source.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
      const bytes = read.mock.calls.reduce((sum, [, , part]) => sum + part.length, 0);
      expect(Math.round(bytes / all), `${path} ${JSON.stringify(options)}`).toBe(times);
      expect(made?.root).toBe((await sealed(target)).root);
    }
  });

  test("that a killed run began is told whole", async () => {
    for (const options of [{}, { to: "hf", format: "safetensors", maxShardSize: 20_000 }] as const) {
      const target = join(scratch(), "target");
      const source = openCheckpoint(hf);
      const plan = () => planConversion(source, target, { adapters, ...options });
      const stop = new AbortController();
      const onProgress = ({ label, done }: { label: string; done: number }) => {
        if (label === "writing" && done > 40_000) stop.abort();
      };
      await expect(convert(plan(), { resume: true, onProgress, signal: stop.signal })).rejects.toThrow();
      const { seal: made } = await convert(plan(), { resume: true });
      source.close();
      expect(made?.root).toBe((await sealed(target)).root);
      const whole = join(scratch(), "whole");
      await converted(hf, whole, options);
      if (!("to" in options)) {
        const [a, b] = [whole, target].map((path) => readFileSync(join(path, "convert-checkpoint.json")));
        expect(a).toEqual(b);
      }
    }
  });
});

test("a thread hashes as this one does: blocks of any size, in any order, begun anew", async () => {
  const all = [hashesFor(0), hashesFor(1e9)];
  for (const hashes of all) {
    for (let i = 0; i < 60; i++) hashes.update(i % 3, new Uint8Array(i * 40_000).fill(i));
    hashes.reset(1);
    hashes.update(1, Buffer.from("anew"));
    hashes.update(7, new Uint8Array());
  }
  const [here, there] = await Promise.all(all.map((hashes) => hashes.digests()));
  for (const hashes of all) hashes.close();
  expect(new Map([...there!].sort())).toEqual(new Map([...here!].sort()));
  expect(here?.size).toBe(3);
});
