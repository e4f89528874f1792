// What `validate` says of a Hugging Face folder is what transformers would make of it: each case was loaded with
// transformers 5.23.0 (`AutoModelForCausalLM.from_pretrained`), which is what the comments tell.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { validate } from "../../src/verify/validate.ts";
import { readState, type State, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { fixtureCase } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";

const { hf } = fixtureCase("llama3/split");
const config = join(hf, "config.json");
const VOCAB = 263;

const found = (path: string, given?: string) =>
  validate(openModel(openCheckpoint(path), { adapters, ...(given === undefined ? {} : { config: given }) }));

function folder(change: Readonly<Record<string, unknown>> = {}, rename = (key: string) => key): string {
  const state: State = new Map([...readState(hf)].map(([key, stored]) => [rename(key), stored]));
  const path = writeSafetensors(join(scratch(), "hf"), state, { config });
  const json = { ...JSON.parse(readFileSync(config, "utf8")), ...change };
  writeFileSync(join(path, "config.json"), JSON.stringify(json));
  return path;
}

function withFile(name: string, json: unknown): string {
  const path = folder();
  writeFileSync(join(path, name), JSON.stringify(json));
  return path;
}

const under = (lead: string) => (key: string) => lead + key;

describe("names of tensors", () => {
  // 21 missing and 21 unexpected keys; of the last, 9 and 9
  it.each([
    ["module.", under("module."), 21],
    ["_orig_mod.", under("_orig_mod."), 21],
    ["base_model.model.", under("base_model.model."), 21],
    ["model.module.", under("model.module."), 21],
    ["layers.0._orig_mod.", (key: string) => key.replace("layers.0.", "layers.0._orig_mod."), 9],
  ])("%s is a finding: transformers does not take it off", async (part, rename, count) => {
    const { verdict, differences, checks } = await found(folder({}, rename));
    expect(verdict).toBe("fail");
    expect(differences).toEqual([
      {
        key: expect.stringContaining(part),
        kind: "unloadable",
        detail: expect.stringMatching(new RegExp(`transformers looks for ".*: ${count} of 21 tensors`)),
      },
    ]);
    expect(checks.filter(({ failed }) => failed > 0)).toEqual([
      { name: expect.stringContaining("transformers finds"), status: "failed", detail: "1 finding", failed: 1 },
    ]);
  });

  // Loads whole: `rename_source_key` takes one base_model_prefix off, or puts one before
  it("one model. more or less is none", async () => {
    for (const rename of [under("model."), (key: string) => key.replace(/^model\./, "")]) {
      const { verdict, notes } = await found(folder({}, rename));
      expect(verdict).toBe("pass");
      expect(notes.join("\n")).toContain('"model." is');
    }
  });

  it("what a conversion writes is loaded", async () => {
    const target = join(scratch(), "plain");
    await converted(folder({}, under("module.")), target, { to: "hf" });
    expect((await found(target)).verdict).toBe("pass");
  });

  it("in a container of a trainer's they are the trainer's", async () => {
    const state: State = new Map([...readState(hf)].map(([key, stored]) => [`module.${key}`, stored]));
    const { verdict, notes, checks } = await found(writeDcp(join(scratch(), "dcp"), state, { config }));
    expect(verdict).toBe("pass");
    expect(notes.join()).toContain('"module."');
    expect(checks.map(({ name }) => name).join()).not.toContain("transformers");
  });
});

describe("names of files", () => {
  // OSError: no file named model.safetensors, or pytorch_model.bin
  it.each(["weights.safetensors", "model-00001-of-00001.safetensors"])("%s is not found", async (name) => {
    const path = folder();
    renameSync(join(path, "model.safetensors"), join(path, name));
    const { differences } = await found(path);
    expect(differences).toEqual([
      { key: name, kind: "unloadable", detail: expect.stringContaining("looks for model.safetensors") },
    ]);
    // The file alone, named by its path, is nobody's folder.
    expect((await found(join(path, name))).verdict).toBe("pass");
  });

  it("a file that the config names is found, a variant where it is asked for", async () => {
    const named = folder({ transformers_weights: "weights.safetensors" });
    renameSync(join(named, "model.safetensors"), join(named, "weights.safetensors"));
    expect((await found(named)).verdict).toBe("pass");
    const variant = folder();
    renameSync(join(variant, "model.safetensors"), join(variant, "model.fp16.safetensors"));
    const { verdict, notes } = await found(variant);
    expect(verdict).toBe("pass");
    expect(notes.join()).toContain("variant=");
  });
});

describe("ids", () => {
  // pad: AssertionError, Padding_idx must be within num_embeddings; the others load, and run into no row or never end
  it.each(["bos_token_id", "eos_token_id", "pad_token_id"])("%s beyond the embedding is a finding", async (name) => {
    for (const ids of [VOCAB, [1, VOCAB + 7]]) {
      const { differences } = await found(folder({ [name]: ids }));
      expect(differences).toEqual([
        { key: name, kind: "id", detail: expect.stringMatching(/^config\.json: \d+ is no row/) },
      ]);
    }
    const inGeneration = await found(withFile("generation_config.json", { [name]: VOCAB }));
    expect(inGeneration.differences).toMatchObject([
      { key: name, detail: expect.stringMatching(/^generation_config/) },
    ]);
  });

  it("the last row, none, and what older files write for none are fine", async () => {
    for (const id of [VOCAB - 1, null, -1]) expect((await found(folder({ pad_token_id: id }))).verdict).toBe("pass");
  });

  it("a tokenizer with more tokens than rows is a finding", async () => {
    for (const json of [
      { model: { vocab: { a: 0, b: VOCAB } } },
      { model: { vocab: Array.from({ length: VOCAB + 1 }, (_, i) => [`t${i}`, 0]) } },
      { model: { vocab: { a: 0 } }, added_tokens: [{ id: VOCAB, content: "<|im_start|>" }] },
    ]) {
      const { differences } = await found(withFile("tokenizer.json", json));
      expect(differences).toEqual([
        {
          key: "tokenizer.json",
          kind: "id",
          detail: expect.stringContaining(`is token ${VOCAB}: the embedding has ${VOCAB} rows`),
        },
      ]);
    }
    expect((await found(withFile("tokenizer.json", { model: { vocab: { a: VOCAB - 1 } } }))).verdict).toBe("pass");
  });

  it("placeholders of what a text model lacks are told, as Gemma 3 1B has them", async () => {
    const added = [{ id: VOCAB, content: "<image_soft_token>" }];
    const { verdict, notes } = await found(
      withFile("tokenizer.json", { model: { vocab: { a: 0 } }, added_tokens: added }),
    );
    expect(verdict).toBe("pass");
    expect(notes.join()).toContain('"<image_soft_token>" is token');
  });
});

describe("what transformers loads all the same is a note", () => {
  // AutoModelForCausalLM goes by model_type
  it.each([
    [{ architectures: undefined }, "names no architectures"],
    [{ architectures: ["Qwen3ForCausalLM"] }, "names Qwen3ForCausalLM and model_type llama"],
    [{ architectures: ["LlamaForSequenceClassification"] }, "names LlamaForSequenceClassification"],
    [{}, "no tokenizer"],
  ])("%o", async (change, words) => {
    const { verdict, notes } = await found(folder(change));
    expect(verdict).toBe("pass");
    expect(notes.join("\n")).toContain(words);
  });

  it("a config from elsewhere", async () => {
    const bare = writeSafetensors(join(scratch(), "bare"), readState(hf));
    const { verdict, notes } = await found(bare, config);
    expect(verdict).toBe("pass");
    expect(notes.join()).toContain("no config.json of its own");
  });
});
