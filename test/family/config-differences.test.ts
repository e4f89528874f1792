// Every field of every fixture's config.json, changed or left out: where that gives other mathematics, it is the one named.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/base/errors.ts";
import { isJsonObject, type JsonObject } from "../../src/base/json.ts";
import { ConfigPair, compareConfigs } from "../../src/family/config-differences.ts";
import type { Family } from "../../src/family/family.ts";
import { fixtureCases } from "../helpers/fixtures.ts";
import { familyOf, fixtureCase } from "../helpers/models.ts";

type Path = readonly string[];

const leaves = (json: JsonObject, path: Path = []): Path[] =>
  Object.entries(json).flatMap(([name, value]) =>
    isJsonObject(value) ? leaves(value, [...path, name]) : [[...path, name]],
  );

function changed(json: JsonObject, [name, ...rest]: Path, change: (value: unknown) => unknown): JsonObject {
  const { [name!]: value, ...others } = json;
  const made = rest.length > 0 && isJsonObject(value) ? changed(value, rest, change) : change(value);
  return made === undefined ? others : { ...others, [name!]: made };
}

const another = (value: unknown): unknown => {
  if (typeof value === "boolean") return !value;
  if (typeof value !== "number") return value;
  return value < 1 ? value * 2 : value + (Number.isInteger(value) ? 1 : 0.5);
};

/** Undefined for a config that is refused. */
function reopened(family: Family, json: JsonObject): Family | undefined {
  try {
    return family.reopened(json);
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

/** Without it a Hugging Face config is read as a trainer's. */
const SPELLING = "model_type";

test.each(fixtureCases.map((entry) => [entry.name, entry] as const))("%s", (_, entry) => {
  const json: JsonObject = JSON.parse(readFileSync(`${entry.hf}/config.json`, "utf8"));
  const good = familyOf(entry);
  expect(compareConfigs(good, good.reopened(json))).toEqual([]);
  const named = new Set<string>();
  for (const path of leaves(json).filter(([name]) => name !== SPELLING)) {
    for (const change of [another, () => undefined]) {
      const bad = reopened(good, changed(json, path, change));
      const found = bad === undefined ? [] : compareConfigs(good, bad);
      if (found.length === 0) continue;
      named.add(path.join("."));
      expect(found.map(({ field }) => field)).toEqual([path.join(".")]);
    }
  }
  expect(named.size).toBeGreaterThan(5);
});

describe("what a difference says", () => {
  const family = (name: string, change: JsonObject) => familyOf(fixtureCase(name), change);

  test("values as both files have them, and the default of one that is absent", () => {
    const [a, b] = [family("qwen3/split", { rms_norm_eps: 1e-5 }), family("qwen3/split", { rms_norm_eps: undefined })];
    expect(compareConfigs(a, b)).toEqual([
      { field: "rms_norm_eps", a: 1e-5, b: null, absent: { in: "b", default: 1e-6 } },
    ]);
  });

  test("transformers 4 and 5 spell RoPE in two ways: one field, by the name in b's file", () => {
    const v4 = { rope_parameters: undefined, rope_theta: 1e4 };
    const v5 = { rope_parameters: { rope_type: "default", rope_theta: 1e6 } };
    const [a, b] = [family("qwen3/split", v4), family("qwen3/split", v5)];
    expect(compareConfigs(a, b)).toEqual([{ field: "rope_parameters.rope_theta", a: 1e4, b: 1e6 }]);
    expect(compareConfigs(b, a)).toEqual([{ field: "rope_theta", a: 1e6, b: 1e4 }]);
  });

  test("one of several fields is taken over alone", () => {
    const a = family("llama3/split", {});
    const b = family("llama3/split", { rms_norm_eps: 0.1, rope_parameters: { rope_type: "default", rope_theta: 7 } });
    const pair = new ConfigPair(a, b);
    expect(pair.differences.map(({ field }) => field)).toEqual(["rms_norm_eps", "rope_parameters.rope_theta"]);
    const eps = pair.with("b", ["rms_norm_eps"])!;
    expect(compareConfigs(eps, b).map(({ field }) => field)).toEqual(["rms_norm_eps"]);
    expect(compareConfigs(a, eps).map(({ field }) => field)).toEqual(["rope_parameters.rope_theta"]);
    expect(
      compareConfigs(
        a,
        pair.with(
          "b",
          pair.differences.map(({ field }) => field),
        )!,
      ),
    ).toEqual([]);
  });
});
