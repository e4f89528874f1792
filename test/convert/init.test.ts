// Seeded weights: the same bits whatever they are written as, other ones by another seed, and a model that validates.
import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { convert } from "../../src/convert/convert.ts";
import { type InitOptions, planInit } from "../../src/convert/init/init.ts";
import { Values } from "../../src/convert/init/values.ts";
import { openModel } from "../../src/model/model.ts";
import { seal } from "../../src/verify/identity/seal.ts";
import { validate } from "../../src/verify/validate.ts";
import { opened } from "../helpers/checkpoints.ts";
import { commandCases, fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

type Options = Partial<InitOptions>;

async function made(config: string, options: Options = {}): Promise<string> {
  const target = join(scratch(), "target");
  await convert(planInit(config, target, { adapters, ...options }), { fsync: false });
  return target;
}

const rootOf = async (path: string, config: string) =>
  (await opened(path, (checkpoint) => seal(checkpoint, { adapters, config }))).seal.root;

describe.each(commandCases)("$name", ({ family, hf }) => {
  test("every layout holds the same model, and it validates", async () => {
    const own = await made(hf, { seed: "7", encoding: "none" });
    const root = await rootOf(own, hf);
    const layouts = adapters.find((each) => each.family === family)!.layouts;
    for (const { name, ranked } of layouts) {
      const path = await made(hf, { seed: "7", to: name, ...(ranked ? {} : { ranks: 3 }) }).catch(
        (error: Error) => error,
      );
      // Meta's params.json and vLLM's layouts cannot say what every config says.
      if (path instanceof Error) expect(path).toMatchObject({ code: expect.stringMatching(/^CONFIG_|^RANKS$/) });
      else expect(await rootOf(path, hf), name).toBe(root);
    }
    const { differences } = await opened(own, (checkpoint) =>
      validate(openModel(checkpoint, { adapters, config: hf })),
    );
    expect(differences.filter(({ kind }) => kind !== "unloadable" && kind !== "id")).toEqual([]);
  });
});

describe("weights", () => {
  const { hf } = fixture("llama3/split");
  const config = () => {
    const folder = join(scratch(), "config");
    mkdirSync(folder);
    cpSync(join(hf, "config.json"), join(folder, "config.json"));
    return folder;
  };

  test("follow from seed, config and type alone", async () => {
    const [one, shards, pt, other, wide] = await Promise.all([
      made(config()),
      made(hf, { maxShardSize: 20_000 }),
      made(join(hf, "config.json"), { to: "torchtitan", format: "pt" }),
      made(config(), { seed: "1" }),
      made(config(), { dtype: ["f16"] }),
    ]);
    const root = await rootOf(one, hf);
    expect(await rootOf(shards, hf)).toBe(root);
    expect(await rootOf(pt, hf)).toBe(root);
    expect(await rootOf(other, hf)).not.toBe(root);
    expect(await rootOf(wide, hf)).not.toBe(root);
  });

  test("of a family that leaves shapes to its files need a checkpoint", async () => {
    const dense = fixture("hf_dense/mistral-bf16").hf;
    const config = join(dense, "config.json");
    expect(() => planInit(config, join(scratch(), "x"), { adapters })).toThrow(
      expect.objectContaining({ code: "INIT_SHAPES" }),
    );
  });

  test("do not depend on where a read begins, and have the mean and deviation asked for", () => {
    const values = new Values("0", "a", { kind: "normal", mean: 1, deviation: 0.5 });
    const all = new Float32Array(100_000);
    values.fill(0, all);
    const part = new Float32Array(77);
    values.fill(4_321, part);
    expect(part).toEqual(all.subarray(4_321, 4_398));
    const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
    const variance = all.reduce((sum, value) => sum + (value - mean) ** 2, 0) / all.length;
    expect(mean).toBeCloseTo(1, 1);
    expect(Math.sqrt(variance)).toBeCloseTo(0.5, 1);
    expect(new Set(all).size).toBeGreaterThan(60_000);
    const far = new Float32Array(1);
    values.fill(2 ** 33 + 4_321, far);
    expect(far[0]).not.toBe(all[4_321]);
  });
});
