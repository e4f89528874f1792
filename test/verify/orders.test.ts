// One model in two orders of dims: Qwen3-VL-MoE as the Hub has it and as transformers 5 saves it.
import { cpSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { diff } from "../../src/verify/diff.ts";
import { flipped, readState, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted, hashes } from "../helpers/converted.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const { hf, hfs, native } = fixture("qwen3_vl_moe/bf16");
const saved = hfs["hf-saved"]!;
const key = "model.language_model.layers.1.mlp.experts.down_proj";

/** A copy with one bit of one expert changed. */
function changed(folder: string): string {
  const state = readState(folder);
  state.set(key, flipped(state.get(key)!));
  return writeSafetensors(join(scratch(), "changed"), state, { config: join(hf, "config.json") });
}

async function differences(a: string, b: string) {
  const [left, right] = [openCheckpoint(a), openCheckpoint(b)];
  try {
    return (await diff(left, right, { a: { adapters, config: hf }, b: { adapters, config: hf } })).differences;
  } finally {
    left.close();
    right.close();
  }
}

test.each([saved, native])("are equal, element by element (%s)", async (other) => {
  expect(await differences(hf, other)).toEqual([]);
  expect(await differences(saved, other)).toEqual([]);
});

test.each([
  [hf, saved],
  [saved, hf],
  [native, saved],
])("and one bit shows, whichever side has it (%#)", async (a, b) => {
  const found = await differences(a, changed(b));
  expect(found.map((difference) => [difference.key, difference.kind])).toEqual([[key, "values"]]);
});

test("without the record the way back gives the Hub's order", async () => {
  const there = join(scratch(), "native");
  await converted(saved, there);
  const back = join(scratch(), "hf");
  await converted(native, back, { config: hf });
  const again = join(scratch(), "again");
  const plain = join(scratch(), "plain");
  cpSync(there, plain, { recursive: true, filter: (name) => !name.endsWith("convert-checkpoint.json") });
  await converted(plain, again);
  expect(hashes(again)).toEqual(hashes(back));
  expect(hashes(again)).not.toEqual(hashes(saved));
});
