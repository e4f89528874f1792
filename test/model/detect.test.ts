import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { InputError, UsageError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { Adapter } from "../../src/family/adapter.ts";
import { layoutsOf } from "../../src/family/layout.ts";
import { detect } from "../../src/model/detect.ts";
import { abstractKey } from "../../src/table/dims/key-pattern.ts";
import { alsoSpelled, optional, optionalPrefix, passThrough, rename } from "../../src/table/rule.ts";
import { compiledTable, layoutOf } from "../helpers/layouts.ts";

const adapterNamed = (family: string): Adapter => adapters.find((adapter) => adapter.family === family)!;

const made = new Map<string, readonly string[]>();

/** Keys of one side of a small model. */
function keysOf(name: string, layout: string, config: JsonObject = {}): Map<string, null> {
  const id = JSON.stringify([name, layout, config]);
  const keys = made.get(id) ?? keysAt(name, layout, config);
  made.set(id, keys);
  return new Map(keys.map((key) => [key, null]));
}

function keysAt(name: string, layout: string, config: JsonObject): readonly string[] {
  const adapter = adapterNamed(name);
  const sizes = { num_hidden_layers: 12, head_dim: 128 };
  const family = adapter.open({ model_type: adapter.modelTypes[0], ...sizes, ...config }, "test");
  const { side } = layoutOf(family, layout);
  return compiledTable(family, layout)
    .tensors(side)
    .filter(({ need }) => need === "required" || (need === "alias" && side === "native"))
    .map(({ key }) => key);
}

const found = (keys: Map<string, null>, config: JsonObject | null = null, settled = {}, evidence = {}) => {
  const { adapter, layout } = detect(adapters, keys, config, settled, evidence);
  return `${adapter.family} ${layout.name}`;
};

const failure = (run: () => unknown): unknown => {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
};

/** Families that have keys of their own. */
const all = adapters
  .filter(({ generic }) => generic !== true)
  .flatMap((adapter) => layoutsOf(adapter).map(({ name }) => [adapter.family, name] as const));

const TWINS = ["qwen3_5_moe megatron", "qwen3_next megatron"];

describe.each(all)("%s %s", (family, layout) => {
  const evidence = { ranks: layout === "meta" };
  test.each([{}, { tie_word_embeddings: true }, ...adapterNamed(family).probes])(
    "with %o is recognised by its keys",
    (config) => {
      const keys = keysOf(family, layout, config);
      // Of text alone and with experts in each layer, both have the very same keys: the user says which.
      const twin = failure(() => found(keys, null, {}, evidence));
      if (twin !== undefined)
        expect(twin).toMatchObject({ message: `the keys fit several layouts: ${TWINS.join(", ")}` });
      if (twin !== undefined) expect(TWINS).toContain(`${family} ${layout}`);
      expect(found(keys, null, twin === undefined ? {} : { family }, evidence)).toBe(`${family} ${layout}`);
    },
  );

  test.each(["embed", "q_proj", "wq", "w1", "norm.weight"])("is recognised though it lacks keys with %s", (part) => {
    const keys = keysOf(family, layout);
    const modelType = adapterNamed(family).modelTypes[0]!;
    for (const key of [...keys.keys()]) if (key.includes(part)) keys.delete(key);
    expect(found(keys, { model_type: modelType }, {}, evidence)).toBe(`${family} ${layout}`);
  });

  test("is recognised though one of its tensors has another name", () => {
    const keys = keysOf(family, layout);
    const [first] = keys.keys();
    keys.delete(first!);
    keys.set("something.else", null);
    const settled = family === "qwen3_next" && layout === "megatron" ? { family } : {};
    expect(found(keys, null, settled, evidence)).toBe(`${family} ${layout}`);
  });
});

describe("what is not recognised", () => {
  const unknown = (keys: Iterable<string>, config: JsonObject | null = null) => {
    const error = failure(() => detect(adapters, new Map([...keys].map((key) => [key, null])), config));
    expect(error).toBeInstanceOf(InputError);
    expect(error).toMatchObject({ code: "UNKNOWN_FAMILY" });
    return error;
  };

  test("other keys", () => {
    expect(unknown(["transformer.h.0.attn.c_attn.weight", "transformer.wte.weight"])).toMatchObject({
      details: { found: 'keys like "transformer.h.#.attn.c_attn.weight"' },
    });
  });

  test("no keys", () => {
    expect(unknown([])).toMatchObject({ details: { found: "no tensors" } });
  });

  test("another model_type, whatever the keys", () => {
    expect(unknown(keysOf("llama3", "hf").keys(), { model_type: "gpt2" })).toMatchObject({
      message: 'no family for model_type "gpt2"',
    });
  });

  test("keys of another family than the config's", () => {
    expect(unknown(["transformer.wte.weight"], { model_type: "llama" })).toMatchObject({
      message: "the keys fit no layout of llama3",
    });
  });

  test("a mixture of experts on top of known attention", () => {
    const keys = [...keysOf("qwen3", "hf").keys()].filter((key) => !key.includes(".mlp."));
    unknown([...keys, "model.layers.0.mlp.gate.weight", "model.layers.0.mlp.experts.0.up_proj.weight"]);
  });
});

test("layouts that fit equally well are listed", () => {
  const twin: Adapter = { ...adapterNamed("llama3"), family: "twin" };
  const error = failure(() => detect([...adapters, twin], keysOf("llama3", "hf"), null));
  expect(error).toMatchObject({
    code: "AMBIGUOUS_LAYOUT",
    message: "the keys fit several layouts: llama3 hf, twin hf",
  });
  expect(detect([...adapters, twin], keysOf("llama3", "hf"), null, { family: "twin" })).toEqual({
    adapter: twin,
    layout: twin.hf,
  });
});

test.each(all.filter(([, layout]) => layout !== "hf"))(
  "%s %s without one kind of key is still found, or the error names what is missing",
  (family, layout) => {
    const adapter = adapterNamed(family);
    const kinds = new Set([...keysOf(family, layout).keys()].map(abstractKey));
    for (const kind of kinds) {
      const others = [...kinds].filter((other) => other !== kind).map((other) => other.replaceAll("#", "0"));
      const outcome = failure(() => {
        const config = { model_type: adapter.modelTypes[0] };
        const keys = new Map(others.map((key) => [key, null]));
        const { layout: detected } = detect([adapter], keys, config, {}, { ranks: layout === "meta" });
        expect([kind, detected.name]).toEqual([kind, layout]);
      });
      if (outcome === undefined) continue;
      expect(outcome, kind).toMatchObject({ code: "AMBIGUOUS_LAYOUT", message: expect.stringContaining(`"${kind}"`) });
    }
  },
);

test("layouts that differ in one tensor, which is lost", () => {
  const keys = keysOf("gpt_oss", "torchtitan-2026-04-16");
  keys.delete("output.weight");
  expect(failure(() => detect(adapters, keys, { model_type: "gpt_oss" }))).toMatchObject({
    code: "AMBIGUOUS_LAYOUT",
    message:
      "the keys fit several layouts: gpt_oss torchtitan-2026-04-27, gpt_oss torchtitan-2026-04-16; " +
      'what tells them apart is missing: "lm_head.weight" or "output.weight"',
    details: { tensor: "lm_head.weight" },
  });
});

test("what the user settles is taken as it is, if it exists", () => {
  expect(found(new Map(), null, { family: "qwen3", layout: "torchtitan-0.2" })).toBe("qwen3 torchtitan-0.2");
  expect(found(keysOf("llama3", "torchtitan"), null, { layout: "torchtitan" })).toBe("llama3 torchtitan");
  expect(failure(() => found(new Map(), null, { family: "llama" }))).toBeInstanceOf(UsageError);
  expect(failure(() => found(new Map(), null, { family: "llama3", layout: "nemo" }))).toMatchObject({
    code: "UNKNOWN_LAYOUT_NAME",
    details: { expected: "hf, torchtitan, torchtitan-fused, torchtitan-0.2, meta, vllm, megatron" },
  });
});

describe("rules that accept several spellings", () => {
  const rules = [
    alsoSpelled("native", ["old.{l}.a"], rename("new.{l}.a", "hf.{l}.a", "d")),
    rename("new.{l}.b", "hf.{l}.b", "d"),
    optional(rename("new.{l}.c", "hf.{l}.c", "d")),
    optionalPrefix("native", "wrapped."),
    passThrough("rest.{key}", "more.{key}"),
  ];
  const llama = adapterNamed("llama3");
  const family = llama.open({ model_type: "llama" }, "test");
  const adapter: Adapter = {
    ...llama,
    family: "spelled",
    layouts: [llama.layouts[0]],
    probes: [{}],
    open: () => ({ ...family, layouts: [{ ...family.layouts[0], rules: () => rules }] }),
  };
  const fits = (keys: readonly string[]) => {
    const error = failure(() => detect([adapter], new Map(keys.map((key) => [key, null])), null));
    return error === undefined;
  };

  test.each([
    [["new.0.a", "new.0.b"], true],
    [["old.0.a", "new.0.b", "new.0.c"], true],
    [["wrapped.new.0.a", "wrapped.new.0.b"], true],
    [["new.0.a", "new.0.b", "rest.of.it"], true],
    [["new.0.a", "new.0.b", "rest"], false],
    [["new.0.a", "old.0.a"], false],
  ])("%o fit: %s", (keys, expected) => {
    expect(fits(keys)).toBe(expected);
  });
});

test("of layouts with the same keys, the files decide, or the record", () => {
  const keys = keysOf("llama3", "meta");
  expect(found(keys)).toBe("llama3 torchtitan-0.2");
  expect(found(keys, null, {}, { ranks: true })).toBe("llama3 meta");
  expect(found(keys, null, {}, { recorded: () => "meta" })).toBe("llama3 meta");
  expect(found(keys, null, {}, { ranks: true, recorded: () => "torchtitan-0.2" })).toBe("llama3 torchtitan-0.2");
  expect(found(keys, null, {}, { recorded: () => "vllm" })).toBe("llama3 torchtitan-0.2");
  expect(found(keysOf("llama3", "hf"), null, {}, { ranks: true })).toBe("llama3 hf");
});

test.each([
  ["deepseek_v3", { num_hidden_layers: 1, first_k_dense_replace: 1 }],
  ["qwen3_moe", { num_hidden_layers: 2, mlp_only_layers: [0, 1] }],
])("a %s without experts is what its config says, whichever layouts differ in them alone", (family, fields) => {
  const config = { model_type: family, ...fields };
  for (const layout of ["hf", "torchtitan"]) {
    expect(found(keysOf(family, layout, config), config)).toBe(`${family} ${layout}`);
  }
  const renamed = new Map([...keysOf(family, "torchtitan-0.2", config)].map(([key]) => [key, null]));
  expect(found(renamed, config)).toBe(`${family} torchtitan-0.2`);
});

test("configs that JSON would write alike are read apart, equal ones once", () => {
  const base = adapterNamed("llama3");
  const read: unknown[] = [];
  const open: Adapter["open"] = (config, ...others) => {
    if (Object.hasOwn(config, "other")) read.push(config.other);
    return base.open(config, ...others);
  };
  const [adapter, keys] = [{ ...base, open }, keysOf("llama3", "hf")];
  const values = [0, -0, -0, null, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, Number.NaN];
  for (const other of values) detect([adapter], keys, { model_type: "llama", other }, { layout: "hf" });
  expect(read).toStrictEqual([0, -0, null, Number.POSITIVE_INFINITY, Number.NaN]);
});
