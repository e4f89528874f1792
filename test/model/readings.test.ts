// Keys as trainers, wrappers and launchers spell them, around good weights: which are read, which are refused, and what
// both say.
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { InputError } from "../../src/base/errors.ts";
import { type Model, openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { runParity } from "../../src/parity/parity.ts";
import { parityDocument } from "../../src/report/views/parity.ts";
import { diff } from "../../src/verify/diff.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { roundtrip } from "../../src/verify/roundtrip.ts";
import { readState, type State, type Stored, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { filesBelow } from "../helpers/memory-folder.ts";
import { fixtureCase } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";

type Rename = (key: string) => string;

const under =
  (lead: string): Rename =>
  (key) =>
    lead + key;

/** After the index of each layer, or of those of one index. */
const inLayers =
  (name: string, index = String.raw`\d+`): Rename =>
  (key) =>
    key.replace(new RegExp(String.raw`((?:^|\.)(?:layers|blocks)\.${index}\.)`), `$1${name}.`);

const SPELLINGS: readonly (readonly [string, Rename, readonly string[]])[] = [
  ["torch.compile", under("_orig_mod."), ["_orig_mod"]],
  ["torch.compile of one layer", inLayers("_orig_mod", "0"), ["_orig_mod"]],
  ["DDP of a compiled module", under("module._orig_mod."), ["_orig_mod", "module."]],
  [
    "FSDP, each layer checkpointed",
    (key) => `_fsdp_wrapped_module.${inLayers("_fsdp_wrapped_module._checkpoint_wrapped_module")(key)}`,
    ["_fsdp_wrapped_module", "_checkpoint_wrapped_module"],
  ],
  ["Fabric", under("_forward_module._orig_mod."), ["_orig_mod", "_forward_module"]],
  ["a merged adapter", under("base_model.model."), ["base_model.model."]],
  ["Lightning", under("state_dict.model."), ["state_dict.model."]],
  ["names that nobody else has", under("runner.policy.net."), ["runner.policy.net."]],
  ["a list of one model", under("models.0."), ["models.#."]],
];

const renamed = (state: State, rename: Rename): State =>
  new Map([...state].map(([key, stored]): [string, Stored] => [rename(key), stored]));

function opened<T>(path: string, use: (model: Model) => T): T {
  return use(openModel(openCheckpoint(path), { adapters }));
}

const isEqual = async (a: string, b: string) =>
  (await diff(openCheckpoint(a), openCheckpoint(b), { a: { adapters }, b: { adapters } })).verdict;

function refusal(run: () => unknown): InputError {
  try {
    run();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

/** The HF side of a case with other keys, in its own number of shards and with its config. */
function spelled(name: string, rename: Rename, maxShardSize?: number): { readonly hf: string; readonly other: string } {
  const { hf } = fixtureCase(name);
  const other = join(scratch(), "other");
  const config = join(hf, "config.json");
  const size = maxShardSize === undefined ? {} : { maxShardSize };
  writeSafetensors(other, renamed(readState(hf), rename), { config, ...size });
  return { hf, other };
}

const NAMES = ["llama3/split", "qwen3_vl/tied", "deepseek_v3/fp8", "gpt_oss/mxfp4", "hf_dense/gemma2-tied-bf16"];

describe.each(NAMES)("%s", (name) => {
  it.each(SPELLINGS)("under the keys of %s is what it is without", async (_, rename, parts) => {
    const { hf, other } = spelled(name, rename, 40_000);
    expect(await isEqual(hf, other)).toBe("pass");
    const found = inspect(openCheckpoint(other), { adapters });
    expect(found).toMatchObject({ layout: "hf", problems: [] });
    for (const part of parts) expect(found.notes.join("\n")).toContain(`"${part}"`);
  });

  it("comes back to the same files, under the keys that these have", async () => {
    const { other } = spelled(name, inLayers("_orig_mod"), 40_000);
    const result = await roundtrip(openModel(openCheckpoint(other), { adapters }));
    expect(result).toMatchObject({
      verdict: "pass",
      differences: [],
      notes: [expect.stringContaining('"_orig_mod"')],
    });
    expect(result.files.length).toBeGreaterThan(1);
    expect(result.files.every(({ same }) => same)).toBe(true);
  });
});

it.each(["llama3/split", "gpt_oss/mxfp4"])(
  "%s: the record brings the same files back, and nothing else",
  async (name) => {
    const { hf, other } = spelled(name, inLayers("_orig_mod"), 40_000);
    const [native, back, plain] = ["native", "back", "plain"].map((part) => join(scratch(), part));
    await converted(other, native!);
    const { notes } = await converted(native!, back!);
    expect(notes).toContainEqual(expect.stringMatching(/keys are spelled as .* "model\..*_orig_mod\./));
    expect(filesBelow(back!)).toEqual(filesBelow(other));
    // One file or another size of shards is no longer that of the source: its keys are plain.
    await converted(native!, plain!, { maxShardSize: 1e9 });
    expect(await isEqual(plain!, hf)).toBe("pass");
    expect([...readState(plain!).keys()].some((key) => key.includes("_orig_mod"))).toBe(false);
  },
);

it("from HF to HF the keys are plain, and the shards stay", async () => {
  const { hf, other } = spelled("llama3/split", under("module."), 40_000);
  const target = join(scratch(), "plain");
  await converted(other, target, { to: "hf" });
  expect([...filesBelow(target).keys()]).toEqual([...filesBelow(other).keys()]);
  const sharded = join(scratch(), "sharded");
  writeSafetensors(sharded, readState(hf), { config: join(hf, "config.json"), maxShardSize: 40_000 });
  const files = filesBelow(target);
  for (const [file, bytes] of filesBelow(sharded))
    if (file.endsWith(".safetensors")) expect(files.get(file)).toEqual(bytes);
  const index = JSON.parse(readFileSync(join(target, "model.safetensors.index.json"), "utf8"));
  expect(Object.keys(index.weight_map).toSorted()).toEqual([...readState(hf).keys()].toSorted());
});

it.each(["llama3/split", "qwen3_moe/untied"])("%s, native, is found below any name", (name) => {
  const { native, hf, layout } = fixtureCase(name);
  const wrapped = renamed(readState(native), (key) => `trainer.net._orig_mod.${key}`);
  const other = writeDcp(join(scratch(), "dcp"), wrapped, { config: join(hf, "config.json") });
  opened(other, (model) => expect(model.layout.name).toBe(layout));
});

describe("a base class, saved without its head", () => {
  const base = (name: string) => {
    const { hf } = fixtureCase(name);
    const state = readState(hf);
    state.delete("lm_head.weight");
    const other = join(scratch(), "base");
    const config = join(hf, "config.json");
    return {
      hf,
      other: writeSafetensors(
        other,
        renamed(state, (key) => key.replace(/^model\./, "")),
        { config },
      ),
    };
  };

  it.each(["llama3/fused-tied", "qwen3_vl/tied", "hf_dense/gemma2-tied-bf16"])("%s, tied: complete", async (name) => {
    const { hf, other } = base(name);
    expect(await isEqual(hf, other)).toBe("pass");
    expect(opened(other, ({ stored }) => stored.notes)).toEqual([expect.stringContaining('"model." is put before')]);
  });

  it.each(["llama3/split", "qwen3_moe/untied", "gpt_oss/bf16", "hf_dense/olmo2"])(
    "%s, untied: its head is missing",
    (name) => {
      const { problems } = inspect(openCheckpoint(base(name).other), { adapters });
      expect(problems).toMatchObject([{ code: "MISSING_TENSOR", tensor: "lm_head.weight" }]);
    },
  );
});

describe("an adapter of PEFT around a layer", () => {
  const wrapped: Rename = (key) => `base_model.model.${key.replace(/\.(q|o)_proj\./, ".$1_proj.base_layer.")}`;

  it("is read where nothing of it is left, and the note says what cannot be seen", async () => {
    const { hf, other } = spelled("llama3/split", wrapped);
    expect(await isEqual(hf, other)).toBe("pass");
    const { notes } = inspect(openCheckpoint(other), { adapters });
    expect(notes.join()).toContain("whether it was merged into them does not show here");
  });

  it("is never taken off while its own tensors are there", () => {
    const { hf } = fixtureCase("llama3/split");
    const state = renamed(readState(hf), wrapped);
    const [norm] = [...state].find(([key]) => key.endsWith("norm.weight"))!;
    state.set("base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight", state.get(norm)!);
    const other = writeSafetensors(join(scratch(), "lora"), state, { config: join(hf, "config.json") });
    const { problems, notes } = inspect(openCheckpoint(other), { adapters });
    expect(problems.length).toBeGreaterThan(0);
    expect(notes.join()).not.toContain("base_layer");
  });
});

describe("what is refused", () => {
  const { hf } = fixtureCase("llama3/split");
  const config = join(hf, "config.json");
  const state = readState(hf);
  const written = (tensors: State) => openCheckpoint(writeSafetensors(join(scratch(), "bad"), tensors, { config }));
  const open = (tensors: State) => openModel(written(tensors), { adapters });
  const both = (a: Rename, b: Rename): State => new Map([...renamed(state, a), ...renamed(state, b)]);

  it("a key with a wrapper and without it", () => {
    expect(refusal(() => open(both(under(""), under("_orig_mod."))))).toMatchObject({
      code: "TWO_SPELLINGS",
      details: { expected: expect.stringContaining('without "_orig_mod" both are "') },
    });
  });

  it("a key with a lead and without it, and an average beside the model", () => {
    for (const [a, b, key] of [
      ["", "module.", "module."],
      ["", "model.", "model.lm_head"],
      ["model.", "ema.", "ema."],
      ["ema_model.", "model.", "ema_model."],
    ] as const) {
      const { problems } = inspect(written(both(under(a), under(b))), { adapters });
      expect(problems).toMatchObject([{ code: "UNKNOWN_TENSOR", tensor: expect.stringContaining(key) }]);
    }
  });

  it("two models, neither of which has the plain name", () => {
    expect(refusal(() => open(both(under("student."), under("teacher."))))).toMatchObject({
      code: "TWO_MODELS",
      details: { found: '"student." and "teacher."' },
    });
  });

  it("keys that fit nothing, naming one of them and what is nearest", () => {
    const rest = new Map([...state].slice(3, 7));
    const odd = renamed(rest, (key) => `module._orig_mod.${key}`).set("a.b.c", state.get("lm_head.weight")!);
    const { code, details } = refusal(() => open(odd));
    expect(code).toBe("UNKNOWN_FAMILY");
    expect(details).toMatchObject({
      tensor: "a.b.c",
      found: expect.stringMatching(
        /^4 of 5 keys fit layout hf of llama3 after "_orig_mod" and "module\." are taken off; not "a\.b\.c"; \d+ of its \d+ kinds of tensors are missing/,
      ),
    });
  });

  it("keys of another kind of model: none fits, and the help does not pretend that one does", () => {
    const gpt2 = new Map([...state].map(([, stored], i): [string, Stored] => [`transformer.h.${i}.attn.bias`, stored]));
    expect(refusal(() => open(gpt2)).details).toMatchObject({
      found: 'none that fits; keys like "transformer.h.0.attn.bias"',
      help: expect.stringContaining("--to raw"),
    });
    const bare = openCheckpoint(writeSafetensors(join(scratch(), "bare"), gpt2));
    expect(refusal(() => openModel(bare, { adapters })).details.help).not.toContain("--family");
  });
});

it("the state of a trainer is no part of the model, as Lightning and others name it", () => {
  const { hf } = fixtureCase("llama3/split");
  const state = renamed(readState(hf), under("state_dict.model."));
  const [norm] = [...state.values()];
  for (const key of ["optimizer_states.0.state.0.exp_avg", "optimizer_state_dict.state.0.exp_avg", "callbacks.ema"])
    state.set(key, norm!);
  const folder = join(scratch(), "ckpt");
  mkdirSync(folder);
  copyFileSync(join(hf, "config.json"), join(folder, "config.json"));
  const { problems, others } = inspect(openCheckpoint(writeSafetensors(folder, state)), { adapters });
  expect(problems).toEqual([]);
  expect(others.map(({ reason }) => reason)).toEqual(["trainer state", "trainer state", "trainer state"]);
});

it("parity says how each side is read", async () => {
  const { hf, other } = spelled("llama3/split", under("module."));
  const [a, b] = [hf, other].map((path) => openModel(openCheckpoint(path), { adapters }));
  const plain = await runParity({ a: a!, golden: fixtureCase("llama3/split").golden, backend: "cpu" });
  expect(plain.a).not.toHaveProperty("spelling");
  const report = await runParity({ a: b!, golden: fixtureCase("llama3/split").golden, backend: "cpu" });
  expect(report).toMatchObject({ verdict: "pass", a: { spelling: [expect.stringContaining('"module."')] } });
  expect(parityDocument(report).notes).toContainEqual(expect.stringMatching(/^a: "module\."/));
});
