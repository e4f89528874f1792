// Which config a checkpoint is read with, and as whose.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { isJsonObject, type JsonObject } from "../../src/base/json.ts";
import { contradictionsIn } from "../../src/model/configs/configured.ts";
import { type ModelOptions, openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { validate } from "../../src/verify/validate.ts";
import { readState, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted, hashes } from "../helpers/converted.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

type Json = JsonObject;

function configOf(folder: string): Json {
  const json: unknown = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
  if (!isJsonObject(json)) throw new Error(`${folder}: no object`);
  return json;
}

/** A copy of a fixture's HF files, or of its native ones, with another config.json or none. */
function files(name: string, config: Json | null, side: "hf" | "native" = "hf"): string {
  const from = fixture(name)[side];
  const folder = join(scratch(), side);
  if (side === "hf") writeSafetensors(folder, readState(from));
  else writeDcp(folder, readState(from));
  if (config !== null) writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  return folder;
}

function opened<T>(path: string, use: (checkpoint: ReturnType<typeof openCheckpoint>) => T): T {
  const checkpoint = openCheckpoint(path);
  try {
    return use(checkpoint);
  } finally {
    checkpoint.close();
  }
}

type Settled = Omit<ModelOptions, "adapters">;
const model = (path: string, options: Settled = {}) =>
  opened(path, (checkpoint) => openModel(checkpoint, { adapters, ...options }));
const seen = (path: string, options: Settled = {}) =>
  opened(path, (checkpoint) => inspect(checkpoint, { adapters, ...options }));

function failure(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("whose config it is", () => {
  const qwen3 = configOf(fixture("qwen3/split").hf);
  const { model_type: _, architectures: __, ...nameless } = qwen3;

  test.each<readonly [string, string, Json, string, string | null]>([
    ["its model_type", "qwen3/split", { ...qwen3, architectures: ["LlamaForCausalLM"] }, "qwen3", null],
    [
      "its architectures, of a model_type of their own",
      "qwen3/split",
      { ...qwen3, model_type: "my_qwen3" },
      "qwen3",
      "Qwen3ForCausalLM",
    ],
    [
      "its architectures, without model_type",
      "qwen3/split",
      { ...nameless, architectures: ["Qwen3ForCausalLM"] },
      "qwen3",
      "Qwen3ForCausalLM",
    ],
    [
      "Kimi K2's name for a DeepSeek-V3",
      "deepseek_v3/qlora-groups",
      { ...configOf(fixture("deepseek_v3/qlora-groups").hf), model_type: "kimi_k2" },
      "deepseek_v3",
      null,
    ],
    [
      "a dense architecture's",
      "hf_dense/olmo2",
      { ...configOf(fixture("hf_dense/olmo2").hf), model_type: undefined },
      "hf-dense",
      "Olmo2ForCausalLM",
    ],
    [
      "a text model's of two",
      "qwen3_5/dense",
      { ...configOf(fixture("qwen3_5/dense").hf), model_type: "mine" },
      "qwen3_5",
      "ForConditionalGeneration",
    ],
  ])("%s", async (_case, name, config, family, note) => {
    const folder = files(name, config);
    const { adapter, stored } = model(folder);
    expect(adapter.family).toBe(family);
    expect(stored.notes).toEqual(note === null ? [] : [expect.stringContaining(note)]);
    expect(seen(folder)).toMatchObject({ family, problems: [], notes: stored.notes });
    const [there, plain, back] = ["there", "plain", "back"].map((each) => join(scratch(), each)) as [
      string,
      string,
      string,
    ];
    const conversion = await converted(folder, there);
    expect(conversion.notes).toEqual(expect.arrayContaining([...stored.notes]));
    await converted(fixture(name).hf, plain);
    expect(hashes(there)).toEqual(hashes(plain));
    await converted(there, back);
    // The user's own config comes back; only one without model_type gets one, which transformers needs.
    const written = configOf(back);
    expect(written).toEqual(
      "model_type" in config && config.model_type !== undefined
        ? config
        : { ...config, model_type: written.model_type },
    );
  });

  test.each([
    ["another model_type", { ...qwen3, model_type: "my_qwen3", architectures: ["MyModel"] }],
    ["one that is another family's", { ...qwen3, model_type: "llama", architectures: ["LlamaForCausalLM"] }],
    ["none", nameless],
  ])("--family's, whatever else it says: %s", async (_case, config) => {
    const folder = files("qwen3/split", config);
    const { adapter, family, stored } = model(folder, { family: "qwen3" });
    expect(adapter.family).toBe("qwen3");
    expect(family.math()).toEqual(model(fixture("qwen3/split").hf).family.math());
    expect(stored.notes).toEqual([expect.stringMatching(/is read as qwen3: --family says so$/)]);
  });

  test("no note where --family says what the config says", () => {
    expect(model(fixture("qwen3/split").hf, { family: "qwen3" }).stored.notes).toEqual([]);
  });

  test("neither name is known", () => {
    const folder = files("qwen3/split", { ...qwen3, model_type: "my_qwen3", architectures: ["MyModel"] });
    expect(failure(() => model(folder))).toMatchObject({ code: "UNKNOWN_FAMILY" });
  });

  test.each([
    [
      "the config",
      { ...qwen3, model_type: "llama", architectures: ["LlamaForCausalLM"] },
      {},
      "the config says llama3, the keys look like qwen3",
    ],
    ["--family", qwen3, { family: "llama3" }, "--family says llama3, the keys look like qwen3"],
  ])("another family's than the keys: %s", (_case, config, options, message) => {
    const folder = files("qwen3/split", config);
    expect(failure(() => model(folder, options))).toMatchObject({ code: "OTHER_FAMILY", message });
    expect(seen(folder, options).problems).toMatchObject([{ code: "OTHER_FAMILY" }]);
  });

  test("keys that are damaged are no other family's", () => {
    const state = readState(fixture("qwen3/split").hf);
    for (const key of [...state.keys()]) if (key.endsWith("q_norm.weight")) state.delete(key);
    const folder = writeSafetensors(join(scratch(), "damaged"), state, {
      config: join(fixture("qwen3/split").hf, "config.json"),
    });
    expect(seen(folder).problems).toMatchObject([{ code: "MISSING_TENSOR" }]);
  });
});

describe("a config.json that is no model's", () => {
  const { hf } = fixture("qwen3/split");
  const { model_type: _, architectures: __, ...nameless } = configOf(hf);
  const foreign: Readonly<Record<string, Json>> = {
    "a trainer's": { run: "qwen3-debug", lr: 1e-4, steps: 100, seed: 3 },
    "OLMo-core's": { model: { d_model: 64, n_layers: 2 }, trainer: { max_steps: 3 } },
    "of generation": { bos_token_id: 1, eos_token_id: [2, 3], transformers_version: "5.23.0" },
    "a tokenizer": { version: "1.0", truncation: null, model: { type: "BPE", vocab: { a: 0 } } },
    "Hugging Face's without model_type": nameless,
    empty: {},
  };

  test.each(Object.entries(foreign))(
    "%s: is said to be so, beside the checkpoint and with --config",
    (_case, config) => {
      const folder = files("qwen3/split", config, "native");
      const expected = { code: "CONFIG_UNKNOWN", message: expect.stringContaining("names no model_type") };
      expect(failure(() => model(folder))).toMatchObject(expected);
      expect(seen(folder)).toMatchObject({ family: "qwen3", config: null, problems: [expected] });
      const bare = files("qwen3/split", null, "native");
      expect(failure(() => model(bare, { config: join(folder, "config.json") }))).toMatchObject(expected);
    },
  );

  test("then --config counts", async () => {
    const folder = files("qwen3/split", foreign["a trainer's"]!, "native");
    const out = join(scratch(), "out");
    const { notes } = await converted(folder, out, { config: hf });
    expect(notes).toEqual(
      expect.arrayContaining([expect.stringMatching(/config\.json is left alone: it names no model_type/)]),
    );
    expect(configOf(out)).toEqual(configOf(hf));
  });

  test.each<readonly [string, Json]>([
    ["flat", { dim: 64, n_layers: 2, n_heads: 4, n_kv_heads: 2, vocab_size: 97, multiple_of: 8 }],
    ["inside a dump of the trainer's", { model_spec: { model: { dim: 64, n_layers: 2, n_heads: 4 } } }],
    ["of another trainer, for a family of one's own", { d_model: 64, n_layers: 2 }],
  ])("model args are a config: %s", (_case, config) => {
    const folder = join(scratch(), "args");
    mkdirSync(folder);
    writeDcp(folder, readState(fixture("llama3/split").native));
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    expect(seen(folder).config).toBe(join(folder, "config.json"));
  });
});

describe("--config beside a config of the checkpoint's own", () => {
  const { hf } = fixture("qwen3/split");

  test("is read all the same: a path that is not there is an error", () => {
    expect(failure(() => model(hf, { config: join(hf, "nothere") }))).toMatchObject({ code: "CONFIG_NOT_FOUND" });
    expect(seen(hf, { config: join(hf, "nothere") }).problems).toMatchObject([{ code: "CONFIG_NOT_FOUND" }]);
  });

  test("is said not to be used, unless it is the same", () => {
    const other = fixture("llama3/split").hf;
    expect(model(hf, { config: other }).stored.notes).toEqual([
      `--config not used: the checkpoint has its own, ${join(hf, "config.json")}`,
    ]);
    expect(model(hf, { config: hf }).stored.notes).toEqual([]);
    expect(model(hf, { ownConfig: hf }).stored.notes).toEqual([]);
  });
});

describe("two rope_thetas", () => {
  const config = configOf(fixture("qwen3/split").hf);
  const inner = { rope_type: "default", rope_theta: 500_000 };
  const twice = { ...config, rope_theta: 10_000, rope_parameters: inner };

  test("are told by inspect, validate, plan and convert, and the inner one counts, as in transformers", async () => {
    const folder = files("qwen3/split", twice);
    expect(seen(folder).problems).toMatchObject([{ code: "ROPE_THETA_TWICE" }]);
    const checkpoint = openCheckpoint(folder);
    const result = await validate(openModel(checkpoint, { adapters }));
    checkpoint.close();
    expect(result).toMatchObject({ verdict: "fail", differences: [{ key: "rope_theta", kind: "config" }] });
    const { notes } = await converted(folder, join(scratch(), "out"));
    expect(notes).toEqual(expect.arrayContaining([expect.stringContaining("rope_parameters.rope_theta is 500000")]));
    const { rope_theta: _, ...once } = twice;
    expect(model(folder).family.math()).toEqual(model(files("qwen3/split", once)).family.math());
  });

  test.each<readonly [string, Json, number]>([
    ["one", { rope_theta: 1e4 }, 0],
    ["the same", { rope_theta: 1e4, rope_parameters: { rope_theta: 1e4 } }, 0],
    ["of v4's scaling without one", { rope_theta: 1e4, rope_scaling: { type: "linear", factor: 2 } }, 0],
    ["of scaling and parameters", { rope_scaling: { rope_theta: 1e4 }, rope_parameters: { rope_theta: 2e4 } }, 1],
    ["of the text model", { text_config: { rope_theta: 1e4, rope_parameters: { rope_theta: 2e4 } } }, 1],
  ])("%s", (_case, json, count) => {
    expect(contradictionsIn({ json, path: "config.json" })).toHaveLength(count);
  });
});
