// Keys and shapes that Megatron-Core's specs give (fixtures/generate/megatron_keys.py), against the tables.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import type { SourceTensor } from "../../src/table/plan.ts";
import { FIXTURES, fixture } from "../helpers/fixtures.ts";
import { compiledTable, detected } from "../helpers/layouts.ts";
import { fixtureCase } from "../helpers/models.ts";

type Shapes = Readonly<Record<string, readonly number[]>>;
const KEYS: Readonly<Record<string, Readonly<Record<string, Shapes>>>> = JSON.parse(
  readFileSync(`${FIXTURES}layouts/megatron.json`, "utf8"),
);

const sourceOf = (shapes: Shapes): Map<string, SourceTensor & { key: string; byteLength: number }> =>
  new Map(
    Object.entries(shapes).map(([key, shape]) => {
      const elements = shape.reduce((product, size) => product * size, 1);
      return [key, { key, dtype: "F32", shape, byteLength: 4 * elements }];
    }),
  );

function tableOf(name: string) {
  const { hf, family } = fixtureCase(name);
  const adapter = adapters.find((each) => each.family === family)!;
  const config = JSON.parse(readFileSync(`${hf}/config.json`, "utf8"));
  return compiledTable(adapter.open(config, hf), "megatron");
}

describe.each(Object.entries(KEYS))("%s", (name, specs) => {
  const table = tableOf(name);
  const { family } = fixtureCase(name);

  test.each(Object.entries(specs))("%s: every key has its place, and its shape", (_, shapes) => {
    const source = sourceOf(shapes);
    expect(table.check("toHf", source)).toEqual([]);
    expect(
      table
        .plan("toHf", source)
        .moves.map(({ key }) => key)
        .sort(),
    ).toEqual([...fixture(name).toHf.keys()].sort());
    const found = detected(adapters, source, null);
    expect(found).toEqual({ adapter: adapters.find((each) => each.family === family), layout: "megatron" });
  });

  test("what is written has every name that a spec asks for", () => {
    const hf = [...fixture(name).toHf].map(([key, { shape }]) => [key, shape] as const);
    const made = table.plan("fromHf", sourceOf(Object.fromEntries(hf))).moves.map(({ key }) => key);
    for (const spec of ["local", "te", "te grouped"])
      expect(Object.keys(specs[spec]!).filter((key) => !made.includes(key))).toEqual([]);
  });

  test("a tensor that no rule knows, and one that is not there, are named", () => {
    const [key] = Object.keys(specs.te!).filter((each) => each.includes("linear_proj"));
    const shapes: Record<string, readonly number[]> = { ...specs.te!, "decoder.layers.3.mlp.gate_weight": [1, 20] };
    delete shapes[key!];
    const faults = table.check("toHf", sourceOf(shapes)).map((fault) => [fault.code, "key" in fault ? fault.key : ""]);
    expect(faults).toContainEqual(["MISSING_TENSOR", key]);
    expect(faults).toContainEqual(["UNKNOWN_TENSOR", "decoder.layers.3.mlp.gate_weight"]);
    expect(faults).toHaveLength(2);
  });
});

test("a load-balancing bias without a place has to be zeros", () => {
  const shapes = { ...KEYS["qwen3_moe/megatron"]!.te!, "decoder.layers.mlp.router.expert_bias": [2, 4] };
  const { dropped } = tableOf("qwen3_moe/megatron").plan("toHf", sourceOf(shapes));
  expect(dropped).toEqual([
    { key: "decoder.layers.mlp.router.expert_bias", reason: expect.stringContaining("load-balancing"), equals: 0 },
  ]);
});

test("of two names of a norm one may go, a third is unknown, and both must be equal", () => {
  const table = tableOf("qwen3_moe/megatron");
  const [one, other] = ["decoder.layers.pre_mlp_layernorm.weight", "decoder.layers.mlp.linear_fc1.layer_norm_weight"];
  const { local, te } = KEYS["qwen3_moe/megatron"]!;
  const both = { ...local!, ...te! };
  const planned = (shapes: Shapes) => table.plan("toHf", sourceOf(shapes));
  const without = (key: string) => Object.fromEntries(Object.entries(both).filter(([name]) => name !== key));
  expect(planned(both).equalities).toEqual([
    { alias: other, of: one, reason: expect.stringContaining("different names") },
  ]);
  for (const key of [one, other]) {
    expect(planned(without(key)).equalities).toEqual([]);
    const renamed = { ...without(key), [`${key}_more`]: both[key]! };
    expect(() => planned(renamed)).toThrow(expect.objectContaining({ code: "UNKNOWN_TENSOR" }));
  }
  const neither = Object.fromEntries(Object.entries(without(one)).filter(([name]) => name !== other));
  expect(() => planned(neither)).toThrow(`"${one}" (or "${other}") is missing`);
});
