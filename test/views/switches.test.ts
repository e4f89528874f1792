// Where one field of the config switches tensors on that files lack, or off that they have, the error names it.
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { layoutNamed } from "../../src/family/layout.ts";
import type { Source } from "../../src/table/plan.ts";
import { switchOf } from "../../src/views/configs/switches.ts";
import { sourceDifferences } from "../../src/views/difference.ts";
import { mapByTable } from "../../src/views/mapping.ts";
import { tableOf } from "../../src/views/tables.ts";
import { familyOf, fixtureCase, openHf } from "../helpers/models.ts";

interface Case {
  readonly fixture: string;
  readonly change: JsonObject;
  readonly to?: string;
  readonly without?: readonly string[];
}

function opened({ fixture, change, to, without = [] }: Case) {
  const entry = fixtureCase(fixture);
  const source = openHf(entry.hf);
  const tensors = new Map([...source.tensors].filter(([key]) => !without.includes(key)));
  const family = familyOf(entry, change);
  const layout = layoutNamed(family, to ?? family.layouts[0].name);
  if (layout?.side !== "native") throw new Error(`${entry.family} has no native layout ${to}`);
  const table = tableOf(layout, tensors, { family, layout, json: family.hfConfig() });
  return { table, family, layout, source: { ...source, tensors } };
}

function refused(made: Case): InputError {
  const { table, source } = opened(made);
  const tensors: Source = source.tensors;
  try {
    table.plan("fromHf", tensors);
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

const MTP = "glm4_moe/megatron";

describe("the field is named, with what it is and what it would have to be", () => {
  test.each<[string, Case, string, RegExp]>([
    [
      "norms that are switched off",
      { fixture: MTP, change: { use_qk_norm: false }, to: "megatron" },
      "UNKNOWN_TENSOR",
      /config says use_qk_norm: false, and one with true has a place for them/,
    ],
    [
      "norms that the config is silent of",
      { fixture: MTP, change: { use_qk_norm: undefined }, to: "megatron" },
      "UNKNOWN_TENSOR",
      /does not say use_qk_norm, which is false then, and one with true has a place for them/,
    ],
    [
      "among others that no field brings",
      { fixture: MTP, change: { use_qk_norm: false }, to: "torchtitan" },
      "UNKNOWN_TENSOR",
      /use_qk_norm: false, and one with true has a place for \d+ of them/,
    ],
    [
      "norms that files lack",
      { fixture: "glm4_moe/air-bf16", change: { use_qk_norm: true } },
      "MISSING_TENSOR",
      /use_qk_norm: true, and one with false does not ask for them/,
    ],
    [
      "biases that are switched off",
      { fixture: "qwen3/biased", change: { attention_bias: false } },
      "UNKNOWN_TENSOR",
      /attention_bias: false, and one with true/,
    ],
    [
      "biases that files lack",
      { fixture: "llama3/split", change: { mlp_bias: true } },
      "MISSING_TENSOR",
      /mlp_bias: true, and one with false/,
    ],
    [
      "a head that is the embedding",
      { fixture: "llama3/fused-tied", change: { tie_word_embeddings: false } },
      "MISSING_TENSOR",
      /tie_word_embeddings: false, and one with true does not ask for it$/,
    ],
    [
      "a size of what there is none of",
      { fixture: "deepseek_v3/noqlora-bf16", change: { q_lora_rank: 16 } },
      "MISSING_TENSOR",
      /q_lora_rank: 16, and one with null does not ask for them/,
    ],
  ])("%s", (_, made, code, words) => {
    const error = refused(made);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(words);
    expect(error.details.help).toMatch(
      /^if the tensors are right, give the config that belongs to them \(--config\), with \w+: /,
    );
  });
});

describe("no field is named", () => {
  test.each<[string, Case]>([
    [
      "for a tensor that is lost",
      { fixture: "qwen3/biased", change: {}, without: ["model.layers.0.self_attn.k_proj.bias"] },
    ],
    ["where a field would bring other faults", { fixture: "deepseek_v3/mtp", change: { q_lora_rank: null } }],
  ])("%s", (_, made) => {
    expect(refused(made).message).not.toContain("config");
  });

  test("of a trainer's own arguments, whose fields have other names", () => {
    const { family, layout, source } = opened({ fixture: "llama3/fused-tied", change: { tie_word_embeddings: false } });
    const table = tableOf(layout, source.tensors, { family, layout, json: {} });
    expect(() => table.plan("fromHf", source.tensors)).toThrow(
      /lm_head\.weight" is missing: expected \[197,42\] = \[v, d\]$/,
    );
  });
});

test("lists of differences say it of each tensor that the field switches", () => {
  const { table, family, layout, source } = opened({ fixture: "qwen3/biased", change: { attention_bias: false } });
  const mapping = mapByTable(table, source, [family.hf, layout], { tolerate: true, mixedDtypes: true });
  const extra = sourceDifferences(mapping).filter(({ kind }) => kind === "extra");
  expect(extra).toHaveLength(8);
  for (const { detail } of extra)
    expect(detail).toContain("attention_bias: false, and one with true has a place for it");
});

describe("of all fields a table is compiled for those alone that by the rules can explain a fault", () => {
  test.each<[string, Case, number]>([
    ["a field that does", { fixture: "qwen3/biased", change: { attention_bias: false } }, 1],
    [
      "no field does, however much is missing",
      { fixture: "deepseek_v3/mtp", change: {}, without: ["model.layers.1.mlp.gate.weight", "model.norm.weight"] },
      0,
    ],
    [
      "a smaller count, of which there would be still more",
      { fixture: "qwen3_moe/untied", change: {}, without: ["model.layers.1.mlp.experts.0.up_proj.weight"] },
      0,
    ],
  ])("%s", (_, made, expected) => {
    const { table, family, layout, source } = opened(made);
    const asked = {
      direction: "fromHf",
      source: source.tensors,
      faults: table.check("fromHf", source.tensors),
    } as const;
    expect(asked.faults.length).toBeGreaterThan(0);
    let compiled = 0;
    const counted = (native: typeof layout) => {
      compiled++;
      return tableOf(native, source.tensors);
    };
    const check = (other: typeof table) => other.check("fromHf", source.tensors);
    const found = switchOf({ family, layout, json: family.hfConfig() }, asked, counted, check);
    expect(found === null).toBe(expected === 0);
    expect(compiled).toBe(expected);
  });
});
