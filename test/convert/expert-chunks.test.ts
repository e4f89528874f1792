// Experts in DCP: one chunk each, so that nobody who reads or writes them holds the stack.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { parseMetadata } from "../../src/formats/dcp/metadata.ts";
import { converted } from "../helpers/converted.ts";
import { tableCases } from "../helpers/fixtures.ts";
import { nativeNames } from "../helpers/layouts.ts";
import { scratch } from "../helpers/scratch.ts";

const OLDER = "torchtitan-2026-05";

const tensorsIn = (folder: string) => {
  const file = join(folder, ".metadata");
  return parseMetadata(readFileSync(file), { file }).tensors;
};

/** Whether HF has each expert in a tensor of its own. */
const isPerExpert = (keys: Iterable<string>) => [...keys].some((key) => /\.experts\.0\./.test(key));
const isStack = (key: string) => /experts\.(w\d(_[A-Z]{3})?|experts\.linear_fc\d\.weight)$/.test(key);
/** Megatron-Core's of all layers: a chunk a layer. */
const isOfLayers = (key: string) => /^decoder\.layers\.(?!\d)/.test(key);
const cases = tableCases.filter(({ toHf }) => isPerExpert(toHf.keys())).map((one) => [one.name, one] as const);

describe.each(cases)("%s", (_, one) => {
  it.each([1, 3])("in %i files: a chunk an expert, and only there", async (ranks) => {
    const target = join(scratch(), "native");
    await converted(one.hf, target, { ranks, to: one.layout });
    const stacks = [...tensorsIn(target).keys()].filter(isStack);
    expect(stacks.length).toBeGreaterThan(0);
    for (const [key, { shape, chunks }] of tensorsIn(target)) {
      const [first = 1] = shape;
      if (!isStack(key)) {
        expect(chunks.length, key).toBeLessThanOrEqual(isOfLayers(key) ? Math.max(first, ranks) : ranks);
        continue;
      }
      // Of Megatron-Core's, layers stand before the experts.
      const places = shape
        .slice(0, -2)
        .reduce<number[][]>(
          (all, size) => all.flatMap((at) => Array.from({ length: size }, (_each, i) => [...at, i])),
          [[]],
        );
      expect(chunks.map(({ offsets, sizes }) => [offsets, sizes])).toEqual(
        places.map((at) => [
          [...at, 0, 0],
          [...at.map(() => 1), ...shape.slice(-2)],
        ]),
      );
      const files = chunks.map(({ payload }) => payload.file);
      expect(files).toEqual(files.toSorted());
      expect(new Set(files).size, key).toBe(Math.ceil(first / Math.ceil(first / ranks)));
    }
  });

  it("the way back gives the same files", async () => {
    const directory = scratch();
    await converted(one.hf, join(directory, "native"), { ranks: 2, to: one.layout });
    await converted(join(directory, "native"), join(directory, "hf"));
    for (const name of readdirSync(one.hf))
      expect(readFileSync(join(directory, "hf", name)).equals(readFileSync(join(one.hf, name))), name).toBe(true);
  });
});

const withOlder = cases.filter(([, { family }]) =>
  adapters.some((adapter) => adapter.family === family && nativeNames(adapter).includes(OLDER)),
);

it.each(withOlder)("%s: from one native layout to another, too", async (_, one) => {
  const directory = scratch();
  await converted(one.native, join(directory, "older"), { config: one.hf, to: OLDER });
  const stack = [...tensorsIn(join(directory, "older"))].find(([key]) => key.endsWith(".w1_EFD"));
  expect(stack?.[1].chunks.length).toBe(stack?.[1].shape[0]);
});

it("a stack that the source has as one tensor stays one", async () => {
  const one = tableCases.find(({ family }) => family === "gpt_oss")!;
  const target = join(scratch(), "native");
  await converted(one.hf, target, { to: one.layout });
  for (const [key, { chunks }] of tensorsIn(target)) expect(chunks.length, key).toBe(1);
});
