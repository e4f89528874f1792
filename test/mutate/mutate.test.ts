// A mutant differs from the good checkpoint in its fault alone, whatever layout, format and encoding both have.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { bytesOf } from "../../src/faults/edit.ts";
import { KINDS } from "../../src/faults/kinds/registry.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { listKinds } from "../../src/mutate/list.ts";
import { type Mutation, mutate } from "../../src/mutate/mutate.ts";
import { asHf } from "../../src/views/as-hf.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { kindOf } from "../helpers/kinds.ts";
import { scratch } from "../helpers/scratch.ts";

interface Good {
  readonly path: string;
  readonly config?: string;
  readonly fault: string;
}

const at = (name: string): string => `${FIXTURES}${name}`;

async function mutant({ path, config, fault }: Good, target: string, seed?: number): Promise<Mutation> {
  const good = openCheckpoint(at(path));
  try {
    const options = { adapters, fault, seed, fsync: false, ...(config === undefined ? {} : { config: at(config) }) };
    return await mutate(good, target, options);
  } finally {
    good.close();
  }
}

/** Keys whose bytes, type or shape are not the same; of rank shards those of any rank. */
function differing(a: Checkpoint, b: Checkpoint): string[] {
  const pairs = (a.ranks ?? [a]).map((one, rank) => [one, (b.ranks ?? [b])[rank]!] as const);
  const keys = pairs.flatMap(([one, other]) =>
    [...new Set([...one.tensors.keys(), ...other.tensors.keys()])].filter((key) => {
      const [x, y] = [one.tensors.get(key), other.tensors.get(key)];
      if (x === undefined || y === undefined || `${x.dtype} ${x.shape}` !== `${y.dtype} ${y.shape}`) return true;
      return Buffer.compare(bytesOf(one, key), bytesOf(other, key)) !== 0;
    }),
  );
  return [...new Set(keys)].toSorted();
}

const files = (folder: string): string[] => readdirSync(folder).toSorted();

describe("only what is told is other", () => {
  test.each<Good>([
    { path: "llama3/split/hf", fault: "rope-k-not-permuted:model.layers.1.self_attn.k_proj.weight" },
    { path: "llama3/split/hf-sharded", fault: "gate-up-swapped" },
    { path: "llama3/split/native-fsdp4", config: "llama3/split/hf", fault: "query-heads-regrouped" },
    { path: "llama3/fused-raw/native", config: "llama3/fused-raw/hf", fault: "o-proj-heads-reordered" },
    { path: "qwen3_moe/untied/native", config: "qwen3_moe/untied/hf", fault: "experts-in-text-order" },
    { path: "qwen3_moe/untied/hf", fault: "gate-up-swapped-one-expert" },
    { path: "gpt_oss/bf16/native", config: "gpt_oss/bf16/hf", fault: "gate-up-as-halves" },
    { path: "gpt_oss/mxfp4/hf", fault: "mxfp4-nibbles-exchanged" },
    { path: "deepseek_v3/fp8/hf", fault: "experts-two-swapped" },
    { path: "deepseek_v3/mtp/native", config: "deepseek_v3/mtp/hf", fault: "mtp-projection-halves" },
    { path: "qwen3_vl/tied/native", config: "qwen3_vl/tied/hf", fault: "rope-fused-qkv-not-permuted" },
    { path: "meta/llama3", config: "meta/llama3", fault: "rope-not-permuted" },
    { path: "hf_dense/phi-bf16/native", config: "hf_dense/phi-bf16/hf", fault: "rope-rotary-part-not-permuted" },
    { path: "llama3/split/hf", fault: "whole-model-bf16" },
    { path: "qwen3_moe/untied/hf", fault: "expert-dropped" },
    { path: "llama3/split/native", config: "llama3/split/hf", fault: "layer-dropped" },
    { path: "llama3/fused-tied/hf", fault: "tied-head-stale" },
  ])("$fault in $path", async (good) => {
    const target = join(scratch(), "mutant");
    const made = await mutant(good, target);
    const [before, after] = [openCheckpoint(at(good.path)), openCheckpoint(target)];
    expect(after.format).toBe(before.format);
    const other = differing(before, after);
    expect(other.length).toBeGreaterThan(0);
    const stored = new Set(made.stored);
    expect(other.filter((key) => !stored.has(key))).toEqual([]);
    expect(after.files.length).toBe(before.files.length);
    for (const name of files(at(good.path)).filter((each) => /\.json$/.test(each) && !/index|to_hf/.test(each)))
      expect(readFileSync(join(target, name), "utf8"), name).toBe(readFileSync(at(`${good.path}/${name}`), "utf8"));
  });

  test("the mutant is, in the Hugging Face view, what the kind makes of the good model", async () => {
    const [good, target] = ["qwen3_moe/untied", join(scratch(), "mutant")];
    const kind = kindOf("experts-rolled");
    const fault = { path: `${good}/native`, config: `${good}/hf`, fault: kind.name };
    const { place } = await mutant(fault, target);
    const hf = (path: string) => {
      const model = openModel(openCheckpoint(path), { adapters, config: at(`${good}/hf`) });
      return { source: asHf(model, {}).source, config: model.stored.config.json };
    };
    const made = kind.make(hf(at(`${good}/native`)), place);
    const { source } = hf(target);
    for (const key of source.tensors.keys()) expect(bytesOf(source, key), key).toEqual(bytesOf(made.source, key));
  });
});

test("a field of the config, every other byte of which stays", async () => {
  const target = join(scratch(), "mutant");
  const made = await mutant({ path: "qwen3/split/hf", fault: "rope-theta-default:rope_theta" }, target);
  expect(made).toMatchObject({
    code: "CONFIG_DIFFERS",
    tensors: [],
    fields: ["rope_parameters.rope_theta"],
    stored: [],
  });
  const [before, after] = [at("qwen3/split/hf"), target].map((folder) =>
    readFileSync(join(folder, "config.json"), "utf8"),
  );
  expect(after).toBe(before!.replace(/"rope_theta": 1000000(\.0)?/, '"rope_theta": 10000'));
  expect(
    readFileSync(join(target, "model.safetensors")).equals(readFileSync(at("qwen3/split/hf/model.safetensors"))),
  ).toBe(true);
});

test("Meta's own config has what it names", async () => {
  const target = join(scratch(), "mutant");
  const made = await mutant({ path: "meta/llama3", config: "meta/llama3", fault: "norm-eps-default" }, target);
  expect(made.fields).toEqual(["norm_eps"]);
  expect(JSON.parse(readFileSync(join(target, "params.json"), "utf8"))).toMatchObject({ norm_eps: 1e-6 });
});

test("the same seed gives the same bytes, another one others", async () => {
  const parent = scratch();
  const good = { path: "llama3/split/hf", fault: "left-random" };
  const bytes = await Promise.all(
    [3, 3, 4].map(async (seed, i) => {
      await mutant(good, join(parent, `${i}`), seed);
      return readFileSync(join(parent, `${i}`, "model.safetensors"));
    }),
  );
  expect(bytes[0]!.equals(bytes[1]!)).toBe(true);
  expect(bytes[0]!.equals(bytes[2]!)).toBe(false);
});

describe("is refused", () => {
  test.each<[string, Good, object]>([
    [
      "an unknown name",
      { path: "llama3/split/hf", fault: "rope-k-not-permutted" },
      { code: "FAULT_UNKNOWN", exitCode: 2 },
    ],
    [
      "a kind without a place",
      { path: "llama3/split/hf", fault: "experts-rolled" },
      { code: "FAULT_NOT_HERE", exitCode: 3 },
    ],
    [
      "another tensor",
      { path: "llama3/split/hf", fault: "gate-up-swapped:model.norm.weight" },
      { code: "FAULT_NOT_HERE", exitCode: 3 },
    ],
    [
      "a part of a stack",
      { path: "qwen3_moe/untied/native", config: "qwen3_moe/untied/hf", fault: "expert-dropped" },
      { code: "FAULT_NOT_HERE", exitCode: 3 },
    ],
  ])("%s", async (_, good, error) => {
    const target = join(scratch(), "mutant");
    await expect(mutant(good, target)).rejects.toMatchObject(error);
    expect(readdirSync(join(target, ".."))).toEqual([]);
  });

  test("a target that is there", async () => {
    const target = scratch();
    await mutant({ path: "llama3/split/hf", fault: "gate-up-swapped" }, join(target, "a"));
    await expect(mutant({ path: "llama3/split/hf", fault: "one-nan" }, join(target, "a"))).rejects.toMatchObject({
      code: "TARGET_EXISTS",
    });
  });
});

test("kinds are listed with their places, and all of them without a checkpoint", () => {
  expect(listKinds(null, { adapters }).kinds.map(({ kind }) => kind)).toEqual(KINDS.map(({ name }) => name));
  const { kinds } = listKinds(openCheckpoint(at("llama3/split/hf")), { adapters });
  const places = kinds.find(({ kind }) => kind === "rope-k-not-permuted")?.places;
  expect(places).toEqual([0, 1].map((layer) => `model.layers.${layer}.self_attn.k_proj.weight`));
  expect(kinds.map(({ kind }) => kind)).not.toContain("experts-rolled");
});
