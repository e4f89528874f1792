// Every architecture in the list, against the keys that torchtitan's backend and transformers gave it.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ARCHITECTURES } from "../../../adapters/hf_dense/architectures.ts";
import { hfDense } from "../../../adapters/hf_dense/index.ts";
import { adapters } from "../../../adapters/registry.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { compiledTable, detected } from "../../helpers/layouts.ts";
import type { Tensors } from "../headers.ts";
import { refusal } from "../refuse.ts";

interface Upstream {
  readonly config: JsonObject;
  readonly tied: boolean;
  /** Shape by key, "29 24". */
  readonly hf: Readonly<Record<string, string>>;
  readonly native: Readonly<Record<string, string>>;
}

const architectures: Readonly<Record<string, Upstream>> = JSON.parse(
  readFileSync(`${FIXTURES}hf_dense/architectures.json`, "utf8"),
);

const headers = (shapes: Readonly<Record<string, string>>): Tensors =>
  new Map(
    Object.entries(shapes).map(([key, shape]) => [
      key,
      { dtype: "F32", shape: shape.split(" ").filter(Boolean).map(Number) },
    ]),
  );

const shapesOf = (moves: readonly { readonly key: string; readonly shape: readonly number[] }[]) =>
  Object.fromEntries(moves.map(({ key, shape }) => [key, shape.join(" ")]));

/** Its keys differ by more than the prefix: the backend left the biases out. */
const isBiased = ({ hf, native }: Upstream): boolean => Object.keys(hf).length !== Object.keys(native).length;

test("the list is what upstream built", () => {
  expect(hfDense.modelTypes).toEqual(Object.keys(architectures).toSorted());
});

test("no other family takes a model_type of the list", () => {
  const others = adapters.filter(({ family }) => family !== "hf-dense").flatMap(({ modelTypes }) => modelTypes);
  expect(hfDense.modelTypes.filter((type) => others.includes(type))).toEqual([]);
});

const sound = Object.entries(architectures).filter(([, upstream]) => !isBiased(upstream));
const biased = Object.entries(architectures).filter(([, upstream]) => isBiased(upstream));

describe.each(sound)("%s", (name, { config, tied, hf, native }) => {
  const family = hfDense.open(config, "config.json");
  const table = compiledTable(family, "torchtitan");

  test("has the backend's keys and shapes, and gives transformers its own back", () => {
    const saved = headers(hf);
    if (tied) saved.delete("lm_head.weight");
    expect(shapesOf(table.plan("fromHf", saved).moves)).toEqual(native);
    expect(shapesOf(table.plan("toHf", headers(native)).moves)).toEqual(
      Object.fromEntries([...saved].map(([key, { shape }]) => [key, shape.join(" ")])),
    );
  });

  test("every layer that upstream built has what every layer must have", () => {
    const kinds = ARCHITECTURES.get(name)!.layer;
    expect(kinds.length).toBeGreaterThan(4);
    for (const l of [0, 1]) for (const kind of kinds) expect(hf).toHaveProperty([`model.layers.${l}.${kind}`]);
  });

  test("is recognised by its config alone", () => {
    expect(detected(adapters, headers(hf), config)).toEqual({ adapter: hfDense, layout: "hf" });
    expect(detected(adapters, headers(native), config)).toEqual({ adapter: hfDense, layout: "torchtitan" });
    expect(refusal(() => detected([hfDense], headers(native), null))).toContain("UNKNOWN_FAMILY");
  });

  test.each(["native", "hf"] as const)("on side %s, each tensor that is missing or one too many is named", (side) => {
    const whole = headers(side === "hf" ? hf : native);
    const direction = side === "hf" ? "fromHf" : "toHf";
    for (const key of whole.keys()) {
      if (key.includes(".layers.1.") || (tied && isHead(key))) continue;
      // A tied embedding is not lost while the head is there.
      const isLost = (name: string) => name === key || (tied && key.endsWith("embed_tokens.weight") && isHead(name));
      const less = new Map([...whole].filter(([name]) => !isLost(name)));
      expect(refusal(() => table.plan(direction, less))).toContain(`"${key}"`);
      const more = new Map([...whole, [`${key}_more`, { dtype: "F32" as const, shape: [3] }]]);
      // Of two layers that differ, either may be the one at fault
      expect(refusal(() => table.plan(direction, more))).toContain("_more");
    }
  });
});

const isHead = (key: string): boolean => key.endsWith("lm_head.weight");

test.each(biased)("%s is refused, for torchtitan leaves its biases out", (_, { config }) => {
  expect(refusal(() => hfDense.open(config, "config.json"))).toContain(
    'CONFIG_UNSUPPORTED: config.json: "attention_bias"',
  );
});

test.each(biased)("%s without biases has the backend's keys and shapes", (_, { config, hf, native }) => {
  const family = hfDense.open({ ...config, attention_bias: false, mlp_bias: false }, "config.json");
  const table = compiledTable(family, "torchtitan");
  const built = Object.fromEntries(Object.entries(hf).filter(([key]) => `model.${key}` in native));
  expect(shapesOf(table.plan("fromHf", headers(built)).moves)).toEqual(native);
  for (const kind of ["mlp.down_proj.weight", "post_attention_layernorm.weight"]) {
    const less = Object.fromEntries(Object.entries(built).filter(([key]) => !key.endsWith(kind)));
    expect(refusal(() => table.plan("fromHf", headers(less)))).toContain(kind);
  }
});

test("four are", () => {
  expect(biased.map(([type]) => type)).toEqual(["glm", "glm4", "jais2", "seed_oss"]);
});
