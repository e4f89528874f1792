// Megatron-Core's folders: forms of files, where they lie, what the run said, rows that pad the vocabulary.
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { planDcp } from "../../src/formats/dcp/plan.ts";
import { planTorchValues } from "../../src/formats/pt/plan.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { roundtrip } from "../../src/verify/roundtrip.ts";
import { validate } from "../../src/verify/validate.ts";
import { writeOutput } from "../formats/dcp/write-output.ts";
import { readState, writeDcp } from "../helpers/checkpoints.ts";
import { converted, hashes } from "../helpers/converted.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const llama = fixture("llama3/megatron");
const qwen = fixture("qwen3/megatron");
const modelAt = (path: string, config?: string) => openModel(openCheckpoint(path), { adapters, config });

const experts = ["gpt_oss/megatron", "qwen3_moe/megatron-mixed-bf16", "deepseek_v3/megatron"].map(fixture);
const seeing = ["qwen3_vl/megatron", "qwen3_vl_moe/megatron-tied-bf16"].map(fixture);

test.each(
  [llama, qwen, ...experts, ...seeing].flatMap(({ natives, hf }) => Object.values(natives).map((path) => [path, hf])),
)("%s comes back in its own form", async (path, config) => {
  const model = modelAt(path!, config);
  const report = await roundtrip(model);
  expect(report).toMatchObject({ verdict: "pass", layout: "megatron", via: "hf", differences: [] });
  model.checkpoint.close();
});

test("a form that the table does not have, and tensors of two forms at once, are refused", () => {
  const { family, layout, table, source } = modelAt(llama.native);
  expect(layout.side).toBe("native");
  expect(() => table.plan("fromHf", new Map(), { form: "columns" })).toThrow(
    expect.objectContaining({ code: "UNKNOWN_ORDER" }),
  );
  const both = new Map([...source.tensors, ...modelAt(llama.natives["native-by-layer"]!).source.tensors]);
  expect(() => table.plan("toHf", both)).toThrow(expect.objectContaining({ code: "UNKNOWN_TENSOR" }));
  expect(family.family).toBe("llama3");
});

/** A folder of Megatron-LM's with one iteration. */
function run(tracker: string, name: string): string {
  const folder = scratch();
  cpSync(llama.native, join(folder, name), { recursive: true });
  writeFileSync(join(folder, "latest_checkpointed_iteration.txt"), tracker);
  return folder;
}

test.each([
  ["100", "iter_0000100"],
  ["release\n", "release"],
])("the tracker %j names the folder %s, and a config lies above it", (tracker, name) => {
  const folder = run(tracker, name);
  cpSync(join(llama.hf, "config.json"), join(folder, "config.json"));
  const model = modelAt(folder);
  expect(model.stored.config.path).toBe(join(folder, "config.json"));
  expect(model.source.tensors.size).toBe(9);
  expect(model.stored.notes).toEqual([]);
  model.checkpoint.close();
});

test("a tracker that names a folder that is not there is told beside those that are", () => {
  for (const tracker of ["7", "../100", ""]) {
    const folder = run(tracker, "iter_0000100");
    expect(() => openCheckpoint(folder)).toThrow(
      expect.objectContaining({
        code: "STEP_MISSING",
        details: expect.objectContaining({
          found: "iter_0000100",
          help: expect.stringContaining(join(folder, "iter_0000100")),
        }),
      }),
    );
  }
});

test("the arguments of the run are a config where there is no other", async () => {
  const target = join(scratch(), "hf");
  await converted(llama.native, target);
  expect(hashes(target)).toEqual(llama.toHf);
  expect(JSON.parse(readFileSync(join(target, "config.json"), "utf8"))).toMatchObject({
    model_type: "llama",
    vocab_size: 70,
  });
});

describe("arguments are written for --use-checkpoint-args", () => {
  const written = async (hf: string) => {
    const target = join(scratch(), "megatron");
    await converted(hf, target, { to: "megatron", vocabularyMultiple: 16 });
    rmSync(join(target, "config.json"));
    rmSync(join(target, "convert-checkpoint.json"));
    return target;
  };

  test.each(["llama3/megatron", "llama3/biased", "qwen3/megatron", "qwen3/split"])(
    "%s: read back, they are the same config, its vocabulary before padding",
    async (name) => {
      const { hf } = fixture(name);
      const [ours, theirs] = [modelAt(await written(hf)), modelAt(hf)];
      expect(ours.family.math()).toEqual(theirs.family.math());
      expect(ours.family.dtype).toBe(theirs.family.dtype);
      expect(ours.stored.notes[0]).toMatch(/made of the arguments of the run in .*common\.pt$/);
      expect(ours.source.tensors.get("embedding.word_embeddings.weight")!.shape[0]).toBe(theirs.family.vocabSize);
      const { checks } = await validate(ours);
      const padding = checks.find((check) => check.name.startsWith("rows behind the vocabulary"));
      expect(padding).toMatchObject({ status: "passed" });
      for (const { checkpoint } of [ours, theirs]) checkpoint.close();
    },
  );

  test.each(["llama3/rope-scaled", "qwen3/biased", "qwen3/yarn"])(
    "%s: none, as they have no word for what the config says",
    async (name) => {
      const checkpoint = openCheckpoint(await written(fixture(name).hf));
      expect(checkpoint.run?.()).toBeNull();
      checkpoint.close();
    },
  );
});

/** The checkpoint of a run with other arguments; null for a file that is none. */
function runWith(args: Record<string, unknown> | null): string {
  const folder = scratch();
  cpSync(llama.native, folder, { recursive: true });
  if (args === null) writeFileSync(join(folder, "common.pt"), "no file of torch");
  else {
    rmSync(join(folder, "common.pt"));
    writeOutput(folder, [planTorchValues({ args }, "common.pt")], new Map());
  }
  return folder;
}

test("a config that says otherwise than the run is told, and what the run does not say", () => {
  const few = modelAt(runWith({ num_layers: 2, hidden_size: 18, rotary_base: 5000 }), llama.hf);
  expect(few.stored.notes).toEqual([
    expect.stringMatching(
      /^rope_parameters\.rope_theta is 10000 in .*config\.json, and 5000 in the run .*common\.pt\)$/,
    ),
    expect.stringMatching(/common\.pt does not say intermediate_size, .*: these are not checked against the run$/),
  ]);
  expect(() => modelAt(runWith({ num_layers: 2, hidden_size: 18 }))).toThrow(
    expect.objectContaining({
      code: "CONFIG_MISSING",
      details: expect.objectContaining({ found: expect.stringContaining("only num_hidden_layers, hidden_size") }),
    }),
  );
  expect(modelAt(runWith(null), llama.hf).stored.notes).toEqual([expect.stringContaining("are not read")]);
});

test("Megatron-Core 0.19 has the arguments in an entry of the checkpoint, in a list", () => {
  const folder = scratch();
  const state = { iteration: 7, args: { num_layers: 2, hidden_size: 18 } };
  writeOutput(folder, [planTorchValues([state], "entry")], new Map());
  const entries = new Map([["common_state/shard_0_1", readFileSync(join(folder, "entry"))]]);
  const tensors = readState(llama.native);
  const infos = [...tensors].map(([key, { dtype, shape }]) => ({ key, dtype, shape }));
  const bytes = new Map([...tensors].map(([key, stored]) => [key, stored.bytes]));
  writeOutput(join(folder, "ours"), planDcp(infos, { entries }), bytes);
  expect(modelAt(join(folder, "ours"), llama.hf).stored.notes).toEqual([
    expect.stringContaining("does not say intermediate_size"),
  ]);
});

test("what is written has the entries and files that Megatron-Core asks for", async () => {
  const target = join(scratch(), "megatron");
  await converted(llama.hf, target, { to: "megatron" });
  expect(hashes(target)).toEqual(llama.fromHf);
  const ours = openCheckpoint(target);
  const theirs = openCheckpoint(llama.native);
  const own = new Set(ours.others.map(({ key }) => key));
  expect(theirs.others.map(({ key }) => key).filter((key) => !own.has(key))).toEqual([]);
  expect(JSON.parse(readFileSync(join(target, "metadata.json"), "utf8"))).toMatchObject({
    sharded_backend: "torch_dist",
  });
  expect(readFileSync(join(target, "common.pt")).includes("argparse\nNamespace\n")).toBe(true);
  ours.close();
  theirs.close();
});

const BRIDGE = ["qwen3_5/megatron-text", "qwen3_5_moe/megatron", ...seeing.map(({ name }) => name)];

test.each(["mixtral/megatron", "glm4_moe/megatron", "qwen3_next/megatron-mtp-bf16", "qwen3_next/tied", ...BRIDGE])(
  "%s: modules find the entries that they ask for, of each expert of each layer",
  async (name) => {
    const target = join(scratch(), "megatron");
    const { hf, native } = fixture(name);
    await converted(hf, target, { to: "megatron" });
    const [ours, theirs] = [target, native].map((path) => openCheckpoint(path));
    const own = new Set(ours!.others.map(({ key }) => key));
    // Modules of Transformer Engine hand over empty tensors, in lists of one, the local ones nothing.
    const empty = [...theirs!.tensors.keys()].map((key) => key.replace(/\.0$/, ""));
    const asked = [...theirs!.others.map(({ key }) => key), ...empty].filter((key) => key.includes("._extra_state/"));
    expect(asked.length).toBeGreaterThan(10);
    expect(asked.filter((key) => !own.has(key))).toEqual([]);
    ours!.close();
    theirs!.close();
  },
);

test("rows that pad the vocabulary are added, cut off, and looked at", async () => {
  const folder = scratch();
  const padded = join(folder, "padded");
  await converted(llama.hf, padded, { to: "megatron", vocabularyMultiple: 16 });
  expect(openCheckpoint(padded).tensors.get("output_layer.weight")!.shape).toEqual([80, 18]);
  const back = join(folder, "back");
  await converted(padded, back);
  expect(hashes(back)).toEqual(llama.toHf);

  const state = readState(padded);
  const trained = state.get("output_layer.weight")!;
  const bytes = trained.bytes.slice();
  bytes.set(bytes.subarray(0, 8 * 72), 72 * 72);
  state.set("output_layer.weight", { ...trained, bytes });
  const used = writeDcp(join(folder, "used"), state, { config: join(llama.hf, "config.json") });
  const failing = converted(used, join(folder, "no"), { config: llama.hf });
  await expect(failing).rejects.toMatchObject({
    code: "PADDING_IN_USE",
    details: { tensor: "output_layer.weight", help: expect.stringContaining("--allow-drop 'output_layer.weight'") },
  });
  await converted(used, join(folder, "yes"), { config: llama.hf, allowDrop: ["output_layer.weight"] });
  expect(hashes(join(folder, "yes"))).toEqual(llama.toHf);
  const toTorchtitan = converted(llama.hf, join(folder, "other"), { to: "torchtitan", vocabularyMultiple: 16 });
  await expect(toTorchtitan).rejects.toMatchObject({ code: "OPTION_MEANINGLESS" });
  rmSync(folder, { recursive: true });
});

describe("what rows behind the vocabulary hold", () => {
  const KEYS = ["embedding.word_embeddings.weight", "output_layer.weight"];
  const CHECK = "rows behind the vocabulary hold nothing that was learnt";

  /** A model with rows behind its own, made of its last ones. */
  function padded(folder: string, row: (value: number, i: number) => number, config: boolean): string {
    const state = readState(llama.native);
    for (const key of KEYS) {
      const { bytes, shape, ...rest } = state.get(key)!;
      const [rows = 0, width = 0] = shape;
      const own = new Float32Array(Uint8Array.from(bytes).buffer);
      const more = Float32Array.from({ length: 10 * width }, (_, i) => row(own.at(-1 - i)!, i));
      const all = Buffer.concat([bytes, Buffer.from(more.buffer)]);
      state.set(key, { ...rest, shape: [rows + 10, width], bytes: all });
    }
    return writeDcp(join(folder, "padded"), state, config ? { config: join(llama.hf, "config.json") } : {});
  }

  test.each<[string, (value: number, i: number) => number, number]>([
    ["zeros", () => 0, 0],
    ["one row again and again", (_, i) => i % 18, 0],
    ["what initialisation left", (value) => value / 20, 0],
    ["what training left", (value) => value, 2],
  ])("%s: validate looks, inspect says that it does not", async (_, row, failed) => {
    const folder = scratch();
    const model = modelAt(padded(folder, row, true));
    const { checks, differences } = await validate(model);
    expect(checks.find(({ name }) => name === CHECK)).toMatchObject({
      status: failed === 0 ? "passed" : "failed",
      failed,
    });
    const found = differences.filter(({ kind }) => kind === "padding");
    expect(found.map(({ key }) => key)).toEqual(failed === 0 ? [] : KEYS);
    if (failed > 0) expect(found[0]!.detail).toMatch(/rows 70 to 79 look trained: values of .* there, of .* before/);
    const { notes } = inspect(model.checkpoint, { adapters });
    expect(notes.filter((note) => note.includes("80 rows"))).toHaveLength(2);
    expect(notes).toContain("not checked, what these rows hold: `validate` and `convert` look at them");
    model.checkpoint.close();
  });

  test("a model without such rows has no such check, and one whose config is its run's arguments says why", async () => {
    const names = async (path: string, config?: string) => {
      const model = modelAt(path, config);
      const { checks } = await validate(model);
      const { notes } = inspect(model.checkpoint, { adapters, config });
      model.checkpoint.close();
      return { check: checks.find(({ name }) => name === CHECK), notes };
    };
    expect(await names(llama.native, llama.hf)).toMatchObject({ check: undefined });
    const alone = await names(llama.native);
    expect(alone.check).toMatchObject({ status: "not checked", detail: expect.stringContaining("(--config)") });
    expect(alone.notes.some((note) => note.startsWith("not checked, how many rows are the vocabulary's"))).toBe(true);
  });
});

test.each([
  ["zeros", null, null],
  ["a copy of the last row", 69, null],
  ["another row", 7, "PADDING_IN_USE"],
])("a single row behind the vocabulary: %s", async (_, copied, code) => {
  const folder = scratch();
  const longer = (keys: readonly string[]) => {
    const state = readState(llama.native);
    for (const key of keys) {
      const { bytes, ...rest } = state.get(key)!;
      const row = copied === null ? new Uint8Array(72) : bytes.subarray(copied * 72, (copied + 1) * 72);
      state.set(key, { ...rest, shape: [71, 18], bytes: Buffer.concat([bytes, row]) });
    }
    return writeDcp(join(folder, `${keys.length}`), state, { config: join(llama.hf, "config.json") });
  };
  const target = join(folder, "hf");
  const conversion = converted(longer(["embedding.word_embeddings.weight", "output_layer.weight"]), target);
  if (code === null) {
    await conversion;
    expect(hashes(target)).toEqual(llama.toHf);
  } else await expect(conversion).rejects.toMatchObject({ code });
  // Both are padded alike: of one alone it is no padding.
  const one = converted(longer(["output_layer.weight"]), join(folder, "no"));
  await expect(one).rejects.toMatchObject({ code: "SHAPE_MISMATCH", details: { tensor: "output_layer.weight" } });
});
