// What the ledger of the families with experts catches in values: ties that are broken, biases that would be lost.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { InputError } from "../../src/errors.ts";
import { flipped, readState, type State, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted, hashes, type Options } from "../helpers/converted.ts";
import { type FixtureCase, tableCases } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const FAMILIES = ["deepseek_v3", "gpt_oss", "qwen3_moe", "qwen3_vl", "qwen3_vl_moe"];
const caseOf = (family: string): FixtureCase =>
  tableCases.find((one) => one.family === family && one.layout === "torchtitan")!;

/** Changes the tensors of one side of a family's fixture, and fields of its config. */
function variant(
  family: string,
  side: "native" | "hf",
  edit: (state: State) => void,
  fields: Readonly<Record<string, unknown>> = {},
): string {
  const one = caseOf(family);
  const state = readState(one[side]);
  edit(state);
  const write = side === "hf" ? writeSafetensors : writeDcp;
  const directory = write(join(scratch(), side), state);
  const json = JSON.parse(readFileSync(join(one.hf, "config.json"), "utf8"));
  writeFileSync(join(directory, "config.json"), JSON.stringify({ ...json, ...fields }));
  return directory;
}

function embeddingOf(family: string, side: "native" | "hf"): string {
  if (side === "native") return "tok_embeddings.weight";
  return family.startsWith("qwen3_vl") ? "model.language_model.embed_tokens.weight" : "model.embed_tokens.weight";
}

/** A tied model, both names shipped; `broken` changes one bit of the head. */
const tied = (family: string, side: "native" | "hf", broken: boolean): string =>
  variant(
    family,
    side,
    (state) => {
      const embedding = state.get(embeddingOf(family, side))!;
      state.set("lm_head.weight", broken ? flipped(embedding, embedding.bytes.length - 1) : embedding);
    },
    { tie_word_embeddings: true },
  );

async function failure(from: string, options: Options = {}): Promise<InputError> {
  try {
    await converted(from, join(scratch(), "out"), options);
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

describe.each(FAMILIES)("%s, tied", (family) => {
  it.each(["native", "hf"] as const)("from %s: equal names are one tensor on the other side", async (side) => {
    const target = join(scratch(), "out");
    const { ties } = await converted(tied(family, side, false), target);
    expect(ties).toEqual([{ alias: "lm_head.weight", of: embeddingOf(family, side) }]);
    // torchtitan's model has both names in its state, transformers' files have one.
    expect(hashes(target).has("lm_head.weight")).toBe(side === "hf");
  });

  it.each(["native", "hf"] as const)("from %s: a broken tie is refused and both names are named", async (side) => {
    const source = tied(family, side, true);
    const { code, message, exitCode, details } = await failure(source);
    expect([code, exitCode, details.tensor]).toEqual(["TIE_BROKEN", 3, "lm_head.weight"]);
    expect(message).toContain(embeddingOf(family, side));
    const target = join(scratch(), "out");
    const { dropped } = await converted(source, target, { allowDrop: ["lm_head.weight"] });
    expect(dropped.map(({ key }) => key)).toContain("lm_head.weight");
  });
});

const isBias = (key: string): boolean => /\.expert_bias(_E)?$/.test(key);

function withBias(family: string): { readonly source: string; readonly key: string } {
  let key = "";
  const source = variant(family, "native", (state) => {
    key = [...state.keys()].find(isBias)!;
    const bias = state.get(key)!;
    const values = new Float32Array(bias.shape[0]!);
    values[values.length - 1] = 2 ** -20;
    state.set(key, { ...bias, dtype: "F32", bytes: new Uint8Array(values.buffer) });
  });
  return { source, key };
}

describe.each(["gpt_oss", "qwen3_moe", "qwen3_vl_moe"])(
  "%s, whose load-balancing bias HF has no place for",
  (family) => {
    it("refuses one that is not zero, by name, unless it is waived, and then says so", async () => {
      const { source, key } = withBias(family);
      const { code, exitCode, message, details } = await failure(source);
      expect([code, exitCode, details.tensor]).toEqual(["DROP_NOT_DEFAULT", 3, key]);
      expect(message).toContain(key);
      expect(details.help).toContain(`--allow-drop '${key}'`);
      const { dropped } = await converted(source, join(scratch(), "out"), { allowDrop: ["*.expert_bias_E"] });
      expect(dropped.map((drop) => drop.key)).toContain(key);
      expect((await failure(source, { allowDrop: ["*.other"] })).code).toBe("DROP_NOT_DEFAULT");
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
      const source = variant(family, "native", (state) => {
        for (const key of [...state.keys()].filter(isBias)) state.delete(key);
      });
      const { dropped } = await converted(source, join(scratch(), "out"));
      expect(dropped).toEqual([]);
    });
  },
);

it("deepseek_v3 has a place for the bias on both sides, and needs it", async () => {
  const { source, key } = withBias("deepseek_v3");
  const target = join(scratch(), "out");
  const { dropped } = await converted(source, target);
  expect(dropped).toEqual([]);
  const hf = key.replace(/^layers\.(\d+)\.moe\.expert_bias_E$/, "model.layers.$1.mlp.gate.e_score_correction_bias");
  const bytes = readState(target).get(hf)?.bytes;
  expect(bytes).toEqual(readState(source).get(key)?.bytes);
  const without = variant("deepseek_v3", "native", (state) => state.delete(key));
  expect((await failure(without)).details.tensor).toBe(key);
});
