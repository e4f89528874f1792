// What parts are joined to is what one run writes, byte for byte, whatever the kind and the number of parts.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { RANK_FILE } from "../../../src/formats/pt/ranks.ts";
import { converted, type Options } from "../../helpers/converted.ts";
import { encodedCases, FIXTURES, fixture } from "../../helpers/fixtures.ts";
import { convertedByParts, filesOf } from "../../helpers/parted.ts";
import { scratch } from "../../helpers/scratch.ts";

/** Both ways to make a target, and what reports and files of both tell. */
async function both(from: string, of: number, options: Options = {}, name = "target") {
  const folder = scratch();
  const [one, many] = [join(folder, "one", name), join(folder, "many", name)];
  const single = await converted(from, one, options);
  const joined = await convertedByParts(from, many, of, options);
  const isFile = name.includes(".");
  expect([...filesOf(many, isFile)]).toEqual([...filesOf(one, isFile)]);
  expect(readdirSync(join(folder, "many"))).toEqual([name]);
  const { peakRamBytes: _, seconds: _s, to: _t, notes, files, ...told } = single;
  expect(joined).toMatchObject(told);
  expect(joined.notes).toEqual(expect.arrayContaining(notes.filter((note) => !/groups have the scales/.test(note))));
  expect(joined.files).toEqual(files);
  return joined;
}

const llama = fixture("llama3/split").hf;
const experts = fixture("qwen3_moe/tied-fused-bf16").hf;

test.each([1, 3, 16])("%i parts of one file", async (of) => {
  const { parts } = await both(llama, of);
  expect(parts.map(({ number }) => number)).toEqual(Array.from({ length: of }, (_, i) => i + 1));
  const sizes = parts.map(({ bytes }) => bytes);
  expect(Math.max(...sizes) / Math.min(...sizes)).toBeLessThan(1.35);
});

test.each<[string, string, Options, string?]>([
  ["experts, a chunk each", experts, {}],
  ["several ranks", llama, { ranks: 3 }],
  [
    "shards, and a cast that a family keeps from some",
    llama,
    { to: "hf", format: "safetensors", dtype: ["f16"], maxShardSize: 90_000 },
  ],
  ["a cast that is a rounding of the source", experts, { dtype: ["f16"] }],
  ["another container, one file", experts, { to: "raw" }, "all.pt"],
  ["another trainer", llama, { to: "vllm" }],
])("3 parts of %s", async (_, from, options, name) => {
  const joined = await both(from, 3, options, name);
  expect(joined.parts).toHaveLength(3);
});

test("3 parts of what is decoded and encoded again, with its scales", async () => {
  for (const { hf } of encodedCases) {
    await both(hf, 3);
    const native = join(scratch(), "native");
    await converted(hf, native);
    await both(native, 3);
  }
});

test("3 parts of files of ranks, cut in rows and columns, there and back", async () => {
  const meta = join(FIXTURES, "meta", readdirSync(join(FIXTURES, "meta"))[0]!);
  const ranks = readdirSync(meta).filter((name) => RANK_FILE.test(name)).length;
  expect(ranks).toBeGreaterThan(1);
  await both(meta, 3);
  const hf = join(scratch(), "hf");
  await converted(meta, hf);
  await both(hf, 3, { to: "meta", ranks });
});
