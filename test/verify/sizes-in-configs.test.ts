// One number of a config must not decide over time and memory: it is refused before a table is expanded for it.
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test, vi } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { InputError } from "../../src/base/errors.ts";
import { isJsonObject, type JsonObject } from "../../src/base/json.ts";
import { planConversion } from "../../src/convert/plan.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { diff } from "../../src/verify/diff.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { roundtrip } from "../../src/verify/roundtrip.ts";
import { validate } from "../../src/verify/validate.ts";
import { FIXTURES, fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const counts = vi.hoisted(() => ({ expanded: 0 }));

vi.mock("../../src/table/compile.ts", async (original) => {
  const { compileRules, ...others } = await original<typeof import("../../src/table/compile.ts")>();
  const counted: typeof compileRules = (rules, axes) => {
    counts.expanded++;
    return compileRules(rules, axes);
  };
  return { ...others, compileRules: counted };
});

beforeEach(() => {
  counts.expanded = 0;
});

const options = { adapters };

type Verb = (checkpoint: Checkpoint) => unknown;

const plan: Verb = (checkpoint) => planConversion(checkpoint, undefined, options);

const verbs: Readonly<Record<string, Verb>> = {
  plan,
  validate: (checkpoint) => validate(openModel(checkpoint, options)),
  roundtrip: (checkpoint) => roundtrip(openModel(checkpoint, options)),
  inspect(checkpoint) {
    const [problem] = inspect(checkpoint, options).problems;
    throw new InputError(`${problem?.code}`, `${problem?.message}`, { help: "" });
  },
};

/** A copy of a fixture with fields of its config, of the text's where there is one, changed. */
function changed(path: string, fields: JsonObject, name = "config.json"): string {
  const copy = join(scratch(), "model");
  cpSync(path, copy, { recursive: true });
  const json: unknown = JSON.parse(readFileSync(join(copy, name), "utf8"));
  if (!isJsonObject(json)) throw new Error(`${path}: no config`);
  const { text_config: text } = json;
  const other = isJsonObject(text) ? { ...json, text_config: { ...text, ...fields } } : { ...json, ...fields };
  writeFileSync(join(copy, name), JSON.stringify(other));
  return copy;
}

async function codeOf(path: string, run: Verb): Promise<string> {
  const checkpoint = openCheckpoint(path);
  try {
    await run(checkpoint);
    return "none";
  } catch (error) {
    if (error instanceof InputError) return error.code;
    throw error;
  } finally {
    checkpoint.close();
  }
}

const LAYERS = [
  "llama3/split",
  "qwen3_moe/untied",
  "deepseek_v3/mtp",
  "kimi_k2_7/images",
  "qwen3_5/dense",
  "qwen3_vl/tied",
  "gpt_oss/bf16",
  "llama4/split",
  "muse_glimmer/text",
  "hf_dense/olmo2",
];
const EXPERTS: readonly (readonly [string, string])[] = [
  ["qwen3_moe/untied", "num_local_experts"],
  ["deepseek_v3/qlora-groups", "n_routed_experts"],
  ["kimi_k2_7/images", "n_routed_experts"],
];
const cases = Object.keys(verbs).flatMap((verb) => [
  ...LAYERS.map((name) => [verb, name, { num_hidden_layers: 1e9, layer_types: null }, "INVALID_CONFIG"] as const),
  ...EXPERTS.map(([name, field]) => [verb, name, { [field]: 1e9, n_group: 1 }, "CONFIG_TOO_LARGE"] as const),
  [verb, "deepseek_v3/mtp", { num_nextn_predict_layers: 1e9 }, "CONFIG_TOO_LARGE"] as const,
]);

test.each(cases)("%s of %s with %o", async (verb, name, fields, code) => {
  expect(await codeOf(changed(fixture(name).hf, fields), verbs[verb]!)).toBe(code);
  expect(counts.expanded).toBe(0);
});

// Sides of one layout are compared as they are, whatever their configs say.
test.each([
  ["llama3/split", { num_hidden_layers: 1e9 }, "INVALID_CONFIG"],
  ["qwen3_moe/untied", { num_local_experts: 1e9 }, "CONFIG_TOO_LARGE"],
])("diff of two layouts of %s with %o", async (name, fields, code) => {
  const { hf, native } = fixture(name);
  const other = openCheckpoint(native);
  const path = changed(hf, fields);
  const ours: Verb = (checkpoint) => diff(checkpoint, other, { a: options, b: { ...options, config: path } });
  expect(await codeOf(path, ours)).toBe(code);
  expect(counts.expanded).toBe(0);
  other.close();
});

test("layers of a params.json", async () => {
  const path = changed(`${FIXTURES}meta/llama3`, { n_layers: 1_500_000 }, "params.json");
  expect(await codeOf(path, plan)).toBe("INVALID_CONFIG");
  expect(counts.expanded).toBe(0);
});

test.each(Object.keys(verbs))("%s of a config with a value nested 60,000 deep", async (verb) => {
  const path = changed(fixture("llama3/split").hf, { hidden_act: "DEEP" });
  const name = join(path, "config.json");
  const deep = "[".repeat(60_000) + "]".repeat(60_000);
  writeFileSync(name, readFileSync(name, "utf8").replace('"DEEP"', deep));
  expect(await codeOf(path, verbs[verb]!)).toBe("CONFIG_MALFORMED");
});

test("a config of the layers that a real model may have says which tensors are missing", async () => {
  const path = changed(fixture("llama3/split").hf, { num_hidden_layers: 1000 });
  expect(await codeOf(path, plan)).toBe("MISSING_TENSOR");
});
