// Whether another config has the same table is told by what the rules ask of a config: it must never be told where it is not so.
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { Shapes } from "../../src/family/adapter.ts";
import { defineFamily } from "../../src/family/define.ts";
import { tableLayout } from "../../src/family/family.ts";
import { fieldsRead, withField } from "../../src/family/fields.ts";
import { sameAnswers } from "../../src/family/same-answers.ts";
import { tableCases } from "../helpers/fixtures.ts";
import { familyOf } from "../helpers/models.ts";

interface Config {
  readonly layers: number;
  readonly bias?: boolean;
  readonly rope: { readonly theta: number; readonly scaling: { readonly factor: number } | null };
  readonly types: readonly string[];
}

const CONFIG: Config = { layers: 2, rope: { theta: 1e4, scaling: { factor: 8 } }, types: ["full", "linear"] };

describe("what was asked decides, and nothing else", () => {
  const theta = { ...CONFIG, rope: { ...CONFIG.rope, theta: 5 } };
  const noScaling = { ...CONFIG, rope: { ...CONFIG.rope, scaling: null } };
  test.each<[string, (config: Config) => unknown, Config, boolean]>([
    ["a value that nobody asked for", ({ layers }) => layers, theta, true],
    ["a value", ({ rope }) => rope.theta, theta, false],
    ["a value within what is spread", ({ rope }) => ({ ...rope }), theta, false],
    ["a value that is written out", (config) => JSON.stringify(config), theta, false],
    ["an object that is asked for as a whole, whose values nobody asked for", ({ rope }) => rope, theta, true],
    ["an object that is there or not", ({ rope }) => rope.scaling === null, noScaling, false],
    ["a value of an object that is not there", ({ rope }) => rope.scaling?.factor, noScaling, false],
    ["a value that is absent", ({ bias }) => bias === true, { ...CONFIG, bias: true }, false],
    ["whether there is a value", (config) => "bias" in config, { ...CONFIG, bias: false }, false],
    ["which values there are", (config) => Object.keys(config), { ...CONFIG, bias: false }, false],
    ["whether a value is its own", (config) => Object.hasOwn(config, "bias"), { ...CONFIG, bias: false }, false],
    ["one of a list", ({ types }) => types[0], { ...CONFIG, types: ["full", "full"] }, false],
    ["an equal list", ({ types }) => types.length, { ...CONFIG, types: ["full", "linear"] }, true],
  ])("%s", (_, ask, other, expected) => {
    expect(sameAnswers(CONFIG, ask)(CONFIG)).toBe(true);
    expect(sameAnswers(CONFIG, ask)(other)).toBe(expected);
  });

  test("a value that cannot be another is looked at as a whole", () => {
    const frozen = Object.freeze({ ...CONFIG, rope: Object.freeze(CONFIG.rope) });
    expect(sameAnswers(frozen, ({ rope }) => rope.theta)(theta)).toBe(false);
    expect(sameAnswers(frozen, ({ rope }) => rope.theta)(CONFIG)).toBe(true);
  });

  test("of what is no plain object nothing is told", () => {
    const config = new (class {
      readonly layers = 2;
    })();
    expect(sameAnswers(config, () => undefined)(config)).toBe(false);
  });
});

/** Regular expressions and functions apart, which are the same by where they stand. */
const written = (table: unknown): string => JSON.stringify(table);

test("a layout that says so has the very rules and axes of the other config, in every family", () => {
  let [alike, others] = [0, 0];
  for (const one of new Map(tableCases.map((each) => [`${each.family} ${each.layout}`, each])).values()) {
    const family = familyOf(one);
    for (const { name } of family.layouts) {
      const layoutAt = (of: typeof family) => tableLayout(of, of.layouts.find((each) => each.name === name)!);
      const layout = layoutAt(family);
      const rules = written([layout.rules(), layout.axes()]);
      for (const { path, value } of fieldsRead(family)) {
        const other = layoutAtOther(() =>
          layoutAt(family.reopened(withField(family.hfConfig(), path, changed(value)))),
        );
        if (other === null) continue;
        if (layout.hasTableOf?.(other) !== true) others++;
        else {
          expect(written([other.rules(), other.axes()]), `${one.name} ${name} ${path.join(".")}`).toBe(rules);
          alike++;
        }
      }
    }
  }
  expect(alike).toBeGreaterThan(others);
  expect(others).toBeGreaterThan(0);
});

const changed = (value: unknown): unknown => (typeof value === "number" ? value + 1 : value !== true);

function layoutAtOther<T>(open: () => T): T | null {
  try {
    return open();
  } catch {
    return null;
  }
}

describe("a config that is opened again", () => {
  const json = { model_type: "llama", hidden_size: 8 };
  const shapes = (rows: number) => new Map([["w", [rows]]]);
  /** Rows of `w`, which the config may leave to the tensors. */
  const rows = (config: JsonObject, _: string, given?: Shapes) =>
    typeof config.rows === "number" ? config.rows : (given?.get("w")?.[0] ?? 0);
  const made = () => {
    const { family: entry } = tableCases[0]!;
    const adapter = adapters.find(({ family }) => family === entry)!;
    const probe = adapter.open(adapter.probes[0]!, "probe");
    return defineFamily<number>({
      ...{ family: "rows", modelTypes: ["rows"], flavours: [], modalities: [], probes: [], sources: [] },
      parse: rows,
      facts: (vocabSize) => ({ vocabSize, maxPositions: 1, dtype: null }),
      axes: () => ({}),
      math: () => ({}),
      hfConfig: (_, config) => config,
      hf: { graph: { none: "a test" } },
      layouts: [{ name: "own", trainer: "test", rules: () => probe.layouts[0].rules(), graph: { none: "a test" } }],
    });
  };

  test("is one family beside any tensors where it says all itself", () => {
    const whole = { ...json, rows: 3 };
    const adapter = made();
    expect(adapter.open(whole, "a", shapes(5))).toBe(adapter.open(whole, "a", shapes(6)));
    expect(adapter.open(whole, "a", shapes(5))).not.toBe(adapter.open(whole, "b", shapes(5)));
    expect(adapter.open({ ...whole }, "b")).not.toBe(adapter.open(whole, "b"));
  });

  test("is another where it leaves a size to the tensors, also once a change of it did", () => {
    const adapter = made();
    expect(adapter.open(json, "a", shapes(5)).vocabSize).toBe(5);
    expect(adapter.open(json, "a", shapes(6)).vocabSize).toBe(6);
    expect(adapter.open(json, "a").vocabSize).toBe(0);
    const whole = { ...json, rows: 3 };
    expect(adapter.open(whole, "a", shapes(5)).reopened(json).vocabSize).toBe(5);
    expect(adapter.open(whole, "a", shapes(6)).reopened(json).vocabSize).toBe(6);
  });
});
