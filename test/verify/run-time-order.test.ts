// Models with experts as transformers 5 holds them at run time, whole or in some layers only.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { openModel } from "../../src/model/model.ts";
import { runParity } from "../../src/parity/parity.ts";
import { diff } from "../../src/verify/diff.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { roundtrip } from "../../src/verify/roundtrip.ts";
import { validate } from "../../src/verify/validate.ts";
import { flipped, opened, readState, type State, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted, hashes } from "../helpers/converted.ts";
import { FIXTURES, fixture } from "../helpers/fixtures.ts";
import { atRunTime, kimiAtRunTime, mixtralAtRunTime } from "../helpers/run-time.ts";
import { scratch } from "../helpers/scratch.ts";

const whole: Readonly<Record<string, (state: State) => State>> = {
  "qwen3_moe/untied": (state) => atRunTime(state, () => true),
  "deepseek_v3/noqlora-bf16": (state) => atRunTime(state, () => true),
  "glm4_moe/groups": (state) => atRunTime(state, () => true),
  "kimi_k2_7/images": (state) =>
    kimiAtRunTime(
      atRunTime(state, () => true),
      2,
    ),
  "mixtral/untied": (state) => mixtralAtRunTime(state, () => true),
};

/** Forms that no writer has throughout. transformers loads each. */
const mixed: Readonly<Record<string, readonly [name: string, make: (state: State) => State]>> = {
  "the first layer": ["qwen3_moe/untied", (state) => atRunTime(state, (experts) => experts.includes(".0."))],
  "the second layer": ["qwen3_moe/untied", (state) => atRunTime(state, (experts) => experts.includes(".1."))],
  "gate and up alone": ["qwen3_moe/untied", (state) => atRunTime(state, (_, name) => name === "gate_up_proj")],
  "the last of two with experts": [
    "deepseek_v3/noqlora-bf16",
    (state) => atRunTime(state, (experts) => experts.includes(".2.")),
  ],
  "the experts beside draft layers of the Hub": [
    "deepseek_v3/mtp",
    (state) => atRunTime(state, (experts) => experts.includes(".1.")),
  ],
  "Mixtral's experts, and its router as in the files": [
    "mixtral/untied",
    (state) => mixtralAtRunTime(state, (key) => key.includes(".experts.")),
  ],
  "Mixtral's second layer": ["mixtral/untied", (state) => mixtralAtRunTime(state, (key) => key.includes("layers.1."))],
  "the experts under the Hub's names": ["kimi_k2_7/images", (state) => atRunTime(state, () => true)],
  "all but the experts": ["kimi_k2_7/images", (state) => kimiAtRunTime(state, 2)],
};

const configOf = (name: string) => join(fixture(name).hf, "config.json");

function written(name: string, make: (state: State) => State, format = writeSafetensors): string {
  return format(join(scratch(), "files"), make(readState(fixture(name).hf)), { config: configOf(name) });
}

const known = new Map<string, ReturnType<typeof hashes>>();

/** Of what the Hub's files become. */
async function hubHashes(hf: string): Promise<ReturnType<typeof hashes>> {
  const made = known.get(hf);
  if (made !== undefined) return made;
  const plain = join(scratch(), "plain");
  await converted(hf, plain);
  const found = hashes(plain);
  known.set(hf, found);
  return found;
}

const differences = (a: string, b: string) =>
  opened(a, (one) =>
    opened(b, async (other) => (await diff(one, other, { a: { adapters }, b: { adapters } })).differences),
  );

test.each(Object.entries(whole))("%s: the form is the one that transformers holds", (name, make) => {
  const found = [...make(readState(fixture(name).hf))].map(([key, { dtype, shape, bytes }]) => {
    return [key, { dtype, shape, sha256: createHash("sha256").update(bytes).digest("hex") }];
  });
  const listed: unknown = JSON.parse(readFileSync(join(FIXTURES, name, "run_time.sha256.json"), "utf8"));
  expect(Object.fromEntries(found)).toEqual(listed);
});

const all = [...Object.entries(whole), ...Object.values(mixed)] as const;
const titles = [
  ...Object.keys(whole).map((name) => `${name}: all`),
  ...Object.entries(mixed).map(([form, [name]]) => `${name}: ${form}`),
];

describe.each(all.map(([name, make], i) => ({ title: titles[i]!, name, make })))("$title", ({ name, make }) => {
  const { hf } = fixture(name);

  test("towards the trainer it is the model of the Hub's files, and the way back gives its own bytes", async () => {
    const files = written(name, make);
    const there = join(scratch(), "native");
    await converted(files, there);
    expect(hashes(there)).toEqual(await hubHashes(hf));
    const back = join(scratch(), "back");
    await converted(there, back);
    expect(readFileSync(join(back, "model.safetensors"))).toEqual(readFileSync(join(files, "model.safetensors")));
  });

  test("is valid, recognised, comes back, and is equal to the other form", async () => {
    for (const format of [writeSafetensors, writeDcp]) {
      const files = written(name, make, format);
      const options = { adapters };
      const found = await opened(files, (checkpoint) => inspect(checkpoint, options));
      expect(found).toMatchObject({ family: name.split("/")[0], layout: "hf", problems: [] });
      expect((await opened(files, (checkpoint) => validate(openModel(checkpoint, options)))).differences).toEqual([]);
      expect(await opened(files, (checkpoint) => roundtrip(openModel(checkpoint, options)))).toMatchObject({
        verdict: "pass",
        differences: [],
      });
      expect(await differences(hf, files)).toEqual([]);
    }
  });
});

test.each(Object.keys(whole))("%s: one bit of a stack shows, under the key of its expert", async (name) => {
  const files = written(name, (state) => {
    const made = whole[name]!(state);
    const key = [...made.keys()].find((each) => each.endsWith("experts.gate_up_proj"))!;
    return made.set(key, flipped(made.get(key)!));
  });
  const found = await differences(fixture(name).hf, files);
  expect(found.map(({ key, kind }) => [key.replace(/^.*experts/, ""), kind])).toEqual([
    [name.startsWith("mixtral") ? ".0.w1.weight" : ".0.gate_proj.weight", "values"],
  ]);
});

test("computes what the Hub's form computes", async () => {
  const files = written("qwen3_moe/untied", mixed["the first layer"]![1]);
  const result = await opened(files, (checkpoint) =>
    runParity({
      a: openModel(checkpoint, { adapters }),
      golden: fixture("qwen3_moe/untied").golden,
      backend: "cpu",
    }),
  );
  expect(result.verdict).toBe("pass");
});

test("keys alone tell the family, also of a nested state", async () => {
  const state = whole["qwen3_moe/untied"]!(readState(fixture("qwen3_moe/untied").hf));
  const nested = new Map([...state].map(([key, tensor]) => [`model.${key}`, tensor]));
  const files = writeDcp(join(scratch(), "files"), nested);
  const found = await opened(files, (checkpoint) => inspect(checkpoint, { adapters }));
  expect(found).toMatchObject({ family: "qwen3_moe", layout: "hf" });
});

describe("what is wrong is told in the form at hand", () => {
  const name = "qwen3_moe/untied";
  const found = async (edit: (state: State) => void) => {
    const files = written(name, (state) => {
      const made = whole[name]!(state);
      edit(made);
      return made;
    });
    const { differences } = await opened(files, (checkpoint) => validate(openModel(checkpoint, { adapters })));
    return differences.map(({ key, kind }) => `${kind} ${key}`);
  };

  test("a stack is missing", async () => {
    const key = "model.layers.1.mlp.experts.down_proj";
    expect(await found((state) => state.delete(key))).toEqual([`missing ${key}`]);
  });

  test("a stack is of another size", async () => {
    const key = "model.layers.1.mlp.experts.gate_up_proj";
    const cut = (state: State) => {
      const { dtype, shape, bytes } = state.get(key)!;
      state.set(key, {
        dtype,
        shape: [shape[0]! - 1, ...shape.slice(1)],
        bytes: bytes.subarray(bytes.length / shape[0]!),
      });
    };
    expect(await found(cut)).toEqual([`shape ${key}`]);
  });

  test("both forms of one layer are there", async () => {
    const own = readState(fixture(name).hf);
    const keys = [...own.keys()].filter((key) => key.includes("layers.0.mlp.experts"));
    const files = written(name, (state) => new Map([...own, ...whole[name]!(state)]));
    await expect(converted(files, join(scratch(), "native"))).rejects.toThrow(
      /no rule for "model\.layers\.0\.mlp\.experts\.\S+": it is of another form of tensors that are there, too/,
    );
    expect(keys.length).toBeGreaterThan(0);
  });
});
