// What the ledger of every family catches in values: ties that are broken, biases that would be lost.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { InputError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { Adapter } from "../../src/family/adapter.ts";
import type { TieRule } from "../../src/table/rule.ts";
import { flipped, readState, type State, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted, hashes, type Options } from "../helpers/converted.ts";
import { type FixtureCase, tableCases } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

/** The first case of each family there is. */
const cases = adapters.map((adapter) => {
  const one = tableCases.find(({ family, layout }) => family === adapter.family && layout === adapter.layouts[0].name);
  if (one === undefined) throw new Error(`no fixture of ${adapter.family}`);
  return [adapter.family, one, adapter] as const;
});
const caseOf = (family: string): FixtureCase => cases.find(([name]) => name === family)![1];
const configOf = (one: FixtureCase): JsonObject => JSON.parse(readFileSync(join(one.hf, "config.json"), "utf8"));

/** Changes the tensors of one side of a family's fixture, and its config. */
function variant(
  one: FixtureCase,
  side: "native" | "hf",
  edit: (state: State) => void,
  config: JsonObject = configOf(one),
): string {
  const state = readState(one[side]);
  edit(state);
  const write = side === "hf" ? writeSafetensors : writeDcp;
  const directory = write(join(scratch(), side), state);
  writeFileSync(join(directory, "config.json"), JSON.stringify(config));
  return directory;
}

/** The config says so for the whole model and for its text. */
function tiedConfig(one: FixtureCase): JsonObject {
  const json = configOf(one);
  const text = json.text_config;
  const inner =
    typeof text === "object" && text !== null ? { text_config: { ...text, tie_word_embeddings: true } } : {};
  return { ...json, ...inner, tie_word_embeddings: true };
}

/** The head's two names, as the family's own rules have them. */
function headOf(adapter: Adapter, one: FixtureCase, side: "native" | "hf"): TieRule {
  const rules = adapter.open(tiedConfig(one), one.hf).layouts[0].rules();
  const ties = rules.filter((rule): rule is TieRule => rule.kind === "tie" && rule.side === side);
  return ties.find(({ alias }) => !alias.includes("{"))!;
}

/** A tied model, both names shipped; `broken` changes one bit of the head. */
function tied(adapter: Adapter, one: FixtureCase, side: "native" | "hf", broken: boolean): string {
  const { alias, of } = headOf(adapter, one, side);
  const edit = (state: State) => {
    const embedding = state.get(of)!;
    state.set(alias, broken ? flipped(embedding, embedding.bytes.length - 1) : embedding);
  };
  return variant(one, side, edit, tiedConfig(one));
}

async function failure(from: string, options: Options = {}): Promise<InputError> {
  try {
    await converted(from, join(scratch(), "out"), options);
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

describe.each(cases)("%s, tied", (_, one, adapter) => {
  it.each(["native", "hf"] as const)("from %s: equal names are one tensor on the other side", async (side) => {
    const { alias, of } = headOf(adapter, one, side);
    const target = join(scratch(), "out");
    const { ties } = await converted(tied(adapter, one, side, false), target);
    expect(ties).toEqual([{ alias, of }]);
    // torchtitan's model has both names in its state, transformers' files and Megatron-Core's have one.
    const other = headOf(adapter, one, side === "hf" ? "native" : "hf");
    expect(hashes(target).has(other.alias)).toBe(side === "hf" && other.materialise);
  });

  it.each(["native", "hf"] as const)("from %s: a broken tie is refused and both names are named", async (side) => {
    const { alias, of } = headOf(adapter, one, side);
    const source = tied(adapter, one, side, true);
    const { code, message, exitCode, details } = await failure(source);
    expect([code, exitCode, details.tensor]).toEqual(["TIE_BROKEN", 3, alias]);
    expect(message).toContain(of);
    const target = join(scratch(), "out");
    const { dropped } = await converted(source, target, { allowDrop: [alias] });
    expect(dropped.map(({ key }) => key)).toContain(alias);
  });
});

const isBias = (key: string): boolean => /\.expert_bias(_E)?$/.test(key);

function withBias(family: string): { readonly source: string; readonly key: string } {
  let key = "";
  const source = variant(caseOf(family), "native", (state) => {
    key = [...state.keys()].find(isBias)!;
    const bias = state.get(key)!;
    const values = new Float32Array(bias.shape[0]!);
    values[values.length - 1] = 2 ** -20;
    state.set(key, { ...bias, dtype: "F32", bytes: new Uint8Array(values.buffer) });
  });
  return { source, key };
}

/** Families whose native models have a bias that no HF tensor of theirs holds. */
const biased = cases.filter(([, one]) =>
  [...readState(one.native).keys()].some((key) => isBias(key) && !one.fromHf.has(key)),
);
it("the families with such a bias", () => {
  expect(biased.map(([family]) => family)).toEqual([
    "gpt_oss",
    "llama4",
    "mixtral",
    "qwen3_5_moe",
    "qwen3_moe",
    "qwen3_vl_moe",
  ]);
});

describe.each(biased.map(([family]) => family))("%s, whose load-balancing bias HF has no place for", (family) => {
  it("refuses one that is not zero, by name, unless it is waived, and then says so", async () => {
    const { source, key } = withBias(family);
    const { code, exitCode, message, details } = await failure(source);
    expect([code, exitCode, details.tensor]).toEqual(["DROP_NOT_DEFAULT", 3, key]);
    expect(message).toContain(key);
    expect(details.help).toContain(`--allow-drop '${key}'`);
    const { dropped } = await converted(source, join(scratch(), "out"), { allowDrop: ["*.expert_bias_E"] });
    expect(dropped.map((drop) => drop.key)).toContain(key);
    expect((await failure(source, { allowDrop: ["*.weight"] })).code).toBe("DROP_NOT_DEFAULT");
  });

  it("makes it again as F32 zeros, or leaves it out", async () => {
    const { hf, native } = caseOf(family);
    const [whole, bare] = [join(scratch(), "whole"), join(scratch(), "bare")];
    await converted(hf, whole);
    await converted(hf, bare, { buffers: false });
    const biases = [...readState(whole)].filter(([key]) => isBias(key));
    expect(biases.map(([key]) => key)).toEqual([...readState(native).keys()].filter(isBias));
    for (const [, { dtype, bytes }] of biases)
      expect([dtype, bytes.every((byte) => byte === 0)]).toEqual(["F32", true]);
    expect([...readState(bare).keys()]).toEqual([...readState(whole).keys()].filter((key) => !isBias(key)));
  });

  it("converts a source without it", async () => {
    const source = variant(caseOf(family), "native", (state) => {
      for (const key of [...state.keys()].filter(isBias)) state.delete(key);
    });
    const { dropped } = await converted(source, join(scratch(), "out"));
    expect(dropped).toEqual([]);
  });
});

it("deepseek_v3 has a place for the bias on both sides, and needs it", async () => {
  const { source, key } = withBias("deepseek_v3");
  const target = join(scratch(), "out");
  const { dropped } = await converted(source, target);
  expect(dropped).toEqual([]);
  const hf = key.replace(/^layers\.(\d+)\.moe\.expert_bias_E$/, "model.layers.$1.mlp.gate.e_score_correction_bias");
  const bytes = readState(target).get(hf)?.bytes;
  expect(bytes).toEqual(readState(source).get(key)?.bytes);
  const without = variant(caseOf("deepseek_v3"), "native", (state) => state.delete(key));
  expect((await failure(without)).details.tensor).toBe(key);
});
