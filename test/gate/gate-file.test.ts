// A gate file: its schema and what is read of it are one, and what is wrong in it is told with its place.

import { Ajv } from "ajv";
import { expect, test } from "vitest";
import type { ConvertCheckpointError } from "../../src/base/errors.ts";
import { type GateCheckpoint, type GateFile, type GateInputs, parseGateFile } from "../../src/gate/file/gate-file.ts";
import { GATE_SCHEMA } from "../../src/gate/file/schema.ts";

/** Every field there is: `Required` makes a field that the type has and this lacks an error of the compiler. */
type Whole<T> = { readonly [K in keyof T]-?: NonNullable<T[K]> };

const inputs: Whole<GateInputs> = {
  tokens: 512,
  ids: ["ids.json"],
  prompts: ["Once"],
  files: ["inputs.safetensors"],
  chatTemplate: true,
  images: ["cat.png"],
  tokenizer: "tokenizer.json",
};
const choices = {
  inputs: { prompts: ["Once"] },
  checks: ["ledger", "parity"],
  require: ["parity"],
  limits: { maxKl: 1e-8, minTop1: 1, maxRam: "8GB" },
  accept: {
    known: [{ code: "SLIDING_WINDOW", maxKl: 2, reason: "the trainer has none" }],
    weights: [{ tensors: "model.norm.*", reason: "trained on" }],
    config: [{ field: "rope_theta", reason: "written later" }],
  },
} as const;
const checkpoint: Whole<GateCheckpoint> = {
  ...choices,
  name: "8B",
  source: "step-1000",
  target: "model",
  config: "Llama",
  sourceConfig: "a.json",
  targetConfig: "b.json",
  family: "llama3",
  layout: "torchtitan",
  profile: "same bytes",
  goldens: ["golden.safetensors"],
  seal: "model.seal.json",
};
const whole: Whole<GateFile> = {
  ...choices,
  $schema: "gate.schema.json",
  checkpoints: [checkpoint],
  backend: "cpu",
  routing: "free",
  upstream: ["transformers=5.24"],
  adapters: ["mine.mjs"],
  reports: ["gate.html"],
};

/** `checkpoints[].source` and the like. */
function fieldsOf(value: unknown, at = ""): string[] {
  if (Array.isArray(value)) return value.flatMap((item: unknown) => fieldsOf(item, `${at}[]`));
  if (typeof value !== "object" || value === null) return [at];
  return Object.entries(value).flatMap(([name, inner]: [string, unknown]) => fieldsOf(inner, `${at}.${name}`));
}

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly description?: string;
}

function fieldsOfSchema({ properties, items }: Schema, at = ""): string[] {
  if (items !== undefined) return fieldsOfSchema(items, `${at}[]`);
  if (properties === undefined) return [at];
  return Object.entries(properties).flatMap(([name, inner]) => fieldsOfSchema(inner, `${at}.${name}`));
}

test("the schema has every field that is read, no other, and a description of each", () => {
  // Inputs are of one kind: the whole of them stands apart.
  const fields = fieldsOf({ ...whole, inputs, checkpoints: [{ ...checkpoint, inputs }] });
  expect(new Set(fields)).toEqual(new Set(fieldsOfSchema(GATE_SCHEMA as Schema)));
  expect(parseGateFile(JSON.stringify(whole), "gate.json")).toEqual(whole);
  const described = (schema: Schema): void => {
    expect(schema.description).toMatch(/[\w`)]\.$/);
    for (const inner of [...Object.values(schema.properties ?? {}), ...(schema.items ? [schema.items] : [])]) {
      described(inner);
    }
  };
  described(GATE_SCHEMA as Schema);
  new Ajv({ strict: true, strictTypes: false }).compile(GATE_SCHEMA);
});

test("three lines suffice", () => {
  const text = `{
  "checkpoints": [{ "source": "step-1000", "target": "model" }]
}`;
  expect(parseGateFile(text, "gate.json").checkpoints).toHaveLength(1);
});

const one = (more: object) => ({ checkpoints: [{ source: "a", ...more }] });

test.each<[unknown, string, string, RegExp]>([
  [{ checkpoint: [] }, "/checkpoint: unknown key", "checkpoint", /did you mean "checkpoints"\?/],
  [one({ sorce: 1 }), "/checkpoints/0/sorce: unknown key", "sorce", /did you mean "source"\?/],
  [one({ color: 1 }), "/checkpoints/0/color: unknown key", "color", /leave it out/],
  [{}, '"checkpoints" is missing', "an empty object", /this suffices: \{ "checkpoints"/],
  [{ checkpoints: [{ target: "b" }] }, '/checkpoints/0: "source" is missing', "target", /add "source"/],
  [{ checkpoints: [] }, "/checkpoints: it is empty", "[]", /schema/],
  [{ checkpoints: [{ source: 3 }] }, "/checkpoints/0/source: 3 is no string", "3", /schema/],
  [[], "[] is no object", "[]", /schema/],
  [
    one({ profile: "same byte" }),
    '/checkpoints/0/profile: "same byte" is none',
    '"same byte"',
    /did you mean "same bytes"/,
  ],
  [{ ...one({}), checks: ["ledgr"] }, '/checks/0: "ledgr" is none', '"ledgr"', /did you mean "ledger"/],
  [{ ...one({}), limits: { maxRam: "8" } }, '/limits/maxRam: "8" is not of the form of 8GB', '"8"', /schema/],
  [{ ...one({}), limits: { minTop1: 2 } }, "/limits/minTop1: 2 must be <= 1", "2", /schema/],
  [
    one({ accept: { weights: [{ tensors: "*" }] } }),
    '/checkpoints/0/accept/weights/0: "reason" is missing',
    "tensors",
    /add/,
  ],
  [
    one({ inputs: { ids: ["a"], tokens: 9 } }),
    "/checkpoints/0/inputs: tokens and ids exclude",
    "tokens, ids",
    /leave one/,
  ],
  [{ ...one({}), inputs: { images: ["a"] } }, "/inputs/images: it is for prompts", "no input", /add prompts/],
])("%j is refused with its place", (json, message, found, help) => {
  const read = () => parseGateFile(JSON.stringify(json), "g/gate.json");
  expect(read).toThrow(`g/gate.json: ${message}`);
  try {
    read();
  } catch (error) {
    const { code, details, exitCode } = error as ConvertCheckpointError;
    expect({ code, exitCode, found: details.found }).toEqual({ code: "GATE_FILE_INVALID", exitCode: 3, found });
    expect(details.help).toMatch(help);
    expect(details.expected).not.toBe("");
  }
});

test("what is no JSON is told so", () => {
  expect(() => parseGateFile('{ "checkpoints": [', "gate.json")).toThrow("gate.json: not JSON");
});
