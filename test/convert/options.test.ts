// What the options of `convert` promise, on small models.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { EnvironmentError, InputError, UsageError } from "../../src/base/errors.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { torchtitanDump } from "../adapters/torchtitan-dump.ts";
import { f32, flipped, readState, type State, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted, hashes, sorted } from "../helpers/converted.ts";
import { FIXTURES, fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const split = fixture("llama3/split");
const tied = fixture("llama3/fused-tied");
const config = join(split.hf, "config.json");

const code = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
  } catch (error) {
    if (error instanceof InputError || error instanceof UsageError || error instanceof EnvironmentError) {
      return `${error.exitCode} ${error.code}`;
    }
    throw error;
  }
  return "no error";
};

describe("the target", () => {
  it("may be an empty folder", async () => {
    const target = scratch();
    await converted(split.hf, target);
    expect(readdirSync(target)).toContain(".metadata");
  });

  it("is refused where it holds a checkpoint, which is replaced with force, and told of", async () => {
    const target = join(scratch(), "out");
    writeSafetensors(target, new Map([["w", f32([4], () => 0)]]), { config });
    expect(await code(converted(split.hf, target))).toBe("3 TARGET_EXISTS");
    const { notes } = await converted(split.hf, target, { force: true });
    expect(notes).toContain("replaced: model.safetensors, config.json (2 files, 0.0 MB)");
    expect(existsSync(join(target, "model.safetensors"))).toBe(false);
    expect(existsSync(join(target, ".metadata"))).toBe(true);
  });

  it("is not replaced where it holds anything else", async () => {
    const target = scratch();
    writeFileSync(join(target, "notes.txt"), "");
    expect(await code(converted(split.hf, target))).toBe("3 TARGET_EXISTS");
    expect(await code(converted(split.hf, target, { force: true }))).toBe("3 TARGET_UNSAFE");
    expect(readdirSync(target)).toEqual(["notes.txt"]);
  });

  it("may be one file", async () => {
    const directory = scratch();
    for (const name of ["m.safetensors", "m.pt", "m.pth"])
      await converted(split.native, join(directory, name), { config });
    expect(readdirSync(directory).sort()).toEqual(["m.pt", "m.pth", "m.safetensors"]);
    for (const name of ["m.safetensors", "m.pt"]) {
      expect(sorted(hashes(join(directory, name)))).toEqual(sorted(split.toHf));
    }
  });

  it("carries config, tokenizer and generation files, those of the source first", async () => {
    const directory = scratch();
    const state = readState(split.native);
    const source = writeDcp(join(directory, "source"), state);
    const extra = join(directory, "extra");
    mkdirSync(extra);
    writeFileSync(join(extra, "config.json"), readFileSync(config));
    for (const name of ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"]) {
      writeFileSync(join(extra, name), `extra ${name}`);
    }
    writeFileSync(join(extra, "README.md"), "the card of the base model");
    writeFileSync(join(source, "tokenizer.json"), "own");
    const { notes } = await converted(source, join(directory, "out"), { config: extra });
    expect(notes.join()).toContain("README.md is the model card beside the config");
    const names = readdirSync(join(directory, "out")).sort();
    expect(names).toEqual([
      "README.md",
      "chat_template.jinja",
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
    expect(readFileSync(join(directory, "out", "tokenizer.json"), "utf8")).toBe("own");
    expect(readFileSync(join(directory, "out", "chat_template.jinja"), "utf8")).toBe("extra chat_template.jinja");
  });
});

describe("config.json", () => {
  it("is made from the trainer's own config, with the dtype of the weights", async () => {
    const directory = scratch();
    const source = writeDcp(join(directory, "source"), readState(split.native));
    writeFileSync(join(source, "config.json"), JSON.stringify(torchtitanDump()));
    const { notes } = await converted(source, join(directory, "out"), { dtype: ["bf16"] });
    const json = JSON.parse(readFileSync(join(directory, "out", "config.json"), "utf8"));
    const { hidden_size, head_dim, vocab_size } = JSON.parse(readFileSync(config, "utf8"));
    expect(json).toMatchObject({ model_type: "llama", hidden_size, head_dim, vocab_size, dtype: "bfloat16" });
    expect(notes.join()).toContain("config.json was made from");
  });

  it("of an HF source comes along as it is, and an unknown one is refused", async () => {
    const directory = scratch();
    await converted(split.hf, join(directory, "out"));
    expect(readFileSync(join(directory, "out", "config.json"), "utf8")).toBe(readFileSync(config, "utf8"));
    const other = writeSafetensors(join(directory, "other"), readState(split.hf));
    writeFileSync(join(other, "config.json"), '{"model_type": "mamba"}');
    expect(await code(converted(other, join(directory, "no")))).toBe("3 UNKNOWN_FAMILY");
    const quantised = { ...JSON.parse(readFileSync(config, "utf8")), quantization_config: { quant_method: "fp8" } };
    writeFileSync(join(other, "config.json"), JSON.stringify(quantised));
    expect(await code(converted(other, join(directory, "no")))).toBe("3 ENCODING_ABSENT");
    writeFileSync(join(other, "config.json"), "{");
    expect(await code(converted(other, join(directory, "no")))).toBe("3 CONFIG_MALFORMED");
    writeFileSync(join(other, "config.json"), "[]");
    expect(await code(converted(other, join(directory, "no")))).toBe("3 CONFIG_MALFORMED");
  });
});

describe("dtypes", () => {
  it("casts all, single tensors otherwise, and says how far values moved", async () => {
    const target = join(scratch(), "out");
    const result = await converted(split.hf, target, { dtype: ["bf16", "*norm.weight=keep", "lm_head.weight=f16"] });
    const dtypes = [...hashes(target)].map(([key, { dtype }]) => [key, dtype]);
    for (const [key, dtype] of dtypes) {
      expect(dtype, key).toBe(/norm\.weight$/.test(key!) ? "F32" : key === "lm_head.weight" ? "F16" : "BF16");
    }
    const casts = new Map(result.casts.map((cast) => [cast.key, cast]));
    expect(casts.has("norm.weight")).toBe(false);
    // Half a unit in the last place of 8 bits: 2^-9, relative to the smallest value of the binade.
    expect(casts.get("tok_embeddings.weight")!.maxRelativeError).toBeGreaterThan(2 ** -11);
    expect(casts.get("tok_embeddings.weight")!.maxRelativeError).toBeLessThanOrEqual(2 ** -8);
  });

  it("names a glob by the keys of either side", async () => {
    const target = join(scratch(), "out");
    await converted(split.hf, target, { dtype: ["model.embed_tokens.weight=bf16"] });
    expect(hashes(target).get("tok_embeddings.weight")!.dtype).toBe("BF16");
  });

  it("says which tensors of two types would become one, as it does without the option", async () => {
    const { hf } = fixture("qwen3_moe/untied");
    const state = readState(hf);
    const [first, second] = ["0", "1"].map((e) => `model.layers.0.mlp.experts.${e}.up_proj.weight`);
    const { shape, bytes, dtype } = state.get(`${second}`)!;
    expect(dtype).toBe("F32");
    state.set(`${second}`, { shape, dtype: "BF16", bytes: bytes.subarray(bytes.length / 2) });
    const source = writeSafetensors(join(scratch(), "mixed"), state, { config: join(hf, "config.json") });
    for (const options of [{}, { dtype: ["model.norm.weight=f32"] }]) {
      const failure: unknown = await converted(source, join(scratch(), "out"), options).catch((error) => error);
      expect(failure).toMatchObject({
        code: "MIXED_DTYPES",
        message: expect.stringContaining(`would be made of "${first}" in F32 and "${second}" in BF16`),
        details: {
          tensor: second,
          expected: "F32",
          found: "BF16",
          help: expect.stringContaining("--dtype 'layers.0."),
        },
      });
    }
  });

  it("tells config.json where all weights have another type", async () => {
    const target = join(scratch(), "out");
    await converted(split.native, target, { config, dtype: ["bf16"] });
    const json = JSON.parse(readFileSync(join(target, "config.json"), "utf8"));
    expect(json.dtype ?? json.torch_dtype).toBe("bfloat16");
    const original = JSON.parse(readFileSync(config, "utf8"));
    expect({ ...json, dtype: 0, torch_dtype: 0 }).toEqual({ ...original, dtype: 0, torch_dtype: 0 });
  });

  it("refuses values that would become infinite, and leaves nothing", async () => {
    const directory = scratch();
    const state = readState(split.hf);
    state.set(
      "model.norm.weight",
      f32([54], (i) => (i === 3 ? 1e6 : 1)),
    );
    const source = writeSafetensors(join(directory, "source"), state, { config });
    expect(await code(converted(source, join(directory, "out"), { dtype: ["f16"] }))).toBe("3 CAST_OVERFLOW");
    expect(readdirSync(directory)).toEqual(["source"]);
  });

  it("refuses a tensor that would be lost below the type, and tells of values that are", async () => {
    const directory = scratch();
    const written = (values: (i: number) => number) => {
      const state = readState(split.hf);
      state.set("model.norm.weight", f32([54], values));
      return writeSafetensors(join(directory, "source"), state, { config });
    };
    const flushed = written((i) => (i === 3 ? 0 : 1e-9));
    expect(await code(converted(flushed, join(directory, "out"), { dtype: ["f16"] }))).toBe("3 CAST_UNDERFLOW");
    expect(readdirSync(directory)).toEqual(["source"]);
    const kept = await converted(flushed, join(directory, "kept"), { dtype: ["f16", "model.norm.weight=keep"] });
    expect(kept.casts.map(({ key }) => key)).not.toContain("norm.weight");
    const one = await converted(
      written((i) => (i === 3 ? 1e-9 : 1)),
      join(directory, "one"),
      { dtype: ["f16"] },
    );
    expect(one.casts.find(({ key }) => key === "norm.weight")?.vanished).toBe(1);
  });
});

describe("what would be lost", () => {
  const withTensor = (key: string, values: (i: number) => number, shape: readonly number[] = [5]): string => {
    const state = readState(split.hf);
    state.set(key, f32(shape, values));
    return writeSafetensors(join(scratch(), "source"), state, { config });
  };
  const inverse = "model.layers.0.self_attn.rotary_emb.inv_freq";

  it("refuses a tensor without a rule, and takes the user's waiver", async () => {
    const source = withTensor("model.layers.0.extra.weight", (i) => i);
    const target = join(scratch(), "out");
    expect(await code(converted(source, target))).toBe("3 UNKNOWN_TENSOR");
    const { dropped } = await converted(source, target, { allowDrop: ["*.extra.weight"] });
    expect(dropped).toEqual([{ key: "model.layers.0.extra.weight", reason: expect.stringContaining("waived") }]);
  });

  it("refuses a missing tensor", async () => {
    const state = readState(split.hf);
    state.delete("model.layers.1.mlp.up_proj.weight");
    const source = writeSafetensors(join(scratch(), "source"), state, { config });
    expect(await code(converted(source, join(scratch(), "out")))).toBe("3 MISSING_TENSOR");
  });

  it("checks a derived buffer before it drops it, and brings its bytes back", async () => {
    const { rope_theta: theta = 10_000 } = JSON.parse(readFileSync(config, "utf8")).rope_parameters;
    const good = withTensor(inverse, (i) => theta ** ((-2 * i) / 10));
    const native = join(scratch(), "native");
    const back = join(scratch(), "back");
    expect((await converted(good, native)).dropped.map(({ key }) => key)).toEqual([inverse]);
    await converted(native, back);
    expect(readFileSync(join(back, "model.safetensors"))).toEqual(readFileSync(join(good, "model.safetensors")));
  });

  it("refuses a buffer that is not what the config gives", async () => {
    const bad = withTensor(inverse, (i) => 9_000 ** ((-2 * i) / 10));
    const target = join(scratch(), "out");
    expect(await code(converted(bad, target))).toBe("3 DROP_NOT_DEFAULT");
    expect(await code(converted(bad, target, { allowDrop: [inverse] }))).toBe("no error");
  });

  const staleTie = (): string => {
    const state: State = readState(tied.native);
    state.set("lm_head.weight", flipped(state.get("lm_head.weight")!, 1001));
    return writeDcp(join(scratch(), "source"), state, { config: join(tied.hf, "config.json") });
  };

  it("refuses a stale tied head, naming both", async () => {
    const target = join(scratch(), "out");
    await expect(converted(staleTie(), target)).rejects.toThrow(
      /"lm_head.weight" should equal "tok_embeddings.weight"/,
    );
    expect(await code(converted(staleTie(), target))).toBe("3 TIE_BROKEN");
    expect(existsSync(target)).toBe(false);
  });

  it("lets a stale alias go where the user says so", async () => {
    const { dropped } = await converted(staleTie(), join(scratch(), "out"), { allowDrop: ["lm_head.weight"] });
    expect(dropped.map(({ key }) => key)).toEqual(["lm_head.weight"]);
  });

  it("lists trainer state, whether the model stands flat or under a name", async () => {
    const model = readState(split.native);
    for (const prefix of ["", "model.", "app.model."]) {
      const state: State = new Map([...model].map(([key, tensor]) => [prefix + key, tensor]));
      state.set(
        "optimizer.state.norm.weight.exp_avg",
        f32([54], () => 0.5),
      );
      state.set(
        "train_state.step",
        f32([], () => 7),
      );
      const source = writeDcp(join(scratch(), "source"), state, { config });
      const target = join(scratch(), "out");
      const { dropped } = await converted(source, target);
      expect(dropped).toEqual([
        { key: "optimizer.state.norm.weight.exp_avg", reason: "trainer state" },
        { key: "train_state.step", reason: "trainer state" },
      ]);
      expect(sorted(hashes(target))).toEqual(sorted(split.toHf));
    }
  });

  it("reads HF keys that a trainer wrapped once more", async () => {
    const state: State = new Map([...readState(split.hf)].map(([key, tensor]) => [`model.${key}`, tensor]));
    const target = join(scratch(), "out");
    await converted(writeDcp(join(scratch(), "source"), state, { config }), target, { to: "torchtitan" });
    expect(sorted(hashes(target))).toEqual(sorted(split.fromHf));
  });
});

describe("--to raw", () => {
  it("changes the container only, for any tensors", async () => {
    const state: State = new Map([
      ["optimizer.state.0.exp_avg", f32([3, 2], (i) => i)],
      ["anything at all", { dtype: "I64", shape: [], bytes: new Uint8Array(8).fill(3) }],
      ["empty", f32([0, 4], () => 0)],
    ]);
    const directory = scratch();
    const source = writeSafetensors(join(directory, "0"), state);
    let path = source;
    for (const [i, target] of ["1.pt", "2", "3.safetensors"].entries()) {
      await converted(path, join(directory, target), { to: "raw", ...(i === 1 ? { format: "dcp" } : {}) });
      path = join(directory, target);
      expect(sorted(hashes(path))).toEqual(sorted(hashes(source)));
    }
  });

  it("gives sharded files back byte for byte", async () => {
    const directory = scratch();
    const sharded = writeSafetensors(join(directory, "sharded"), readState(split.hf), {
      maxShardSize: 60_000,
      metadata: { format: "pt", note: "kept" },
    });
    await converted(sharded, join(directory, "dcp"), { to: "raw" });
    await converted(join(directory, "dcp"), join(directory, "back"), { to: "raw" });
    const files = readdirSync(sharded);
    expect(files.length).toBeGreaterThan(3);
    for (const name of files) {
      expect(readFileSync(join(directory, "back", name)).equals(readFileSync(join(sharded, name))), name).toBe(true);
    }
  });

  const dcp = join(FIXTURES, "dcp");
  const cases = readdirSync(dcp).filter((name) => existsSync(join(dcp, name, "expect.safetensors")));

  it.each(cases)("keeps keys and bits of what torch saved: %s", async (name) => {
    const home = join(dcp, name);
    const source = join(home, existsSync(join(home, "ckpt")) ? "ckpt" : "file.pt");
    const target = join(scratch(), "out.safetensors");
    const { dropped } = await converted(source, target, { to: "raw" });
    expect(sorted(hashes(target))).toEqual(sorted(hashes(join(home, "expect.safetensors"))));
    const checkpoint = openCheckpoint(source);
    expect(dropped).toEqual(checkpoint.others.map(({ key }) => ({ key, reason: "not a tensor" })));
    checkpoint.close();
  });

  it.each(["nested/ckpt", "pt-shared/file.pt", "fsdp/ckpt"])(
    "keeps in DCP where tensors stand in the state: %s",
    async (name) => {
      const target = join(scratch(), "out");
      await converted(join(dcp, name), target, { to: "raw", format: "dcp" });
      const [source, copy] = [openCheckpoint(join(dcp, name)), openCheckpoint(target)];
      const pathsOf = ({ tensors, paths }: typeof source) =>
        [...tensors.keys()].toSorted().map((key) => [key, paths?.get(key) ?? [key]]);
      expect(pathsOf(copy)).toEqual(pathsOf(source));
      if (name.startsWith("nested")) expect(pathsOf(source).some(([, path]) => path!.length > 2)).toBe(true);
      for (const checkpoint of [source, copy]) checkpoint.close();
    },
  );

  it("has cases with entries that are no tensors", () => {
    const checkpoint = openCheckpoint(join(dcp, "nested", "ckpt"));
    expect(checkpoint.others.length).toBeGreaterThan(0);
    checkpoint.close();
  });
});

describe("shards and ranks", () => {
  it("splits safetensors and DCP", async () => {
    const directory = scratch();
    const shards = await converted(split.native, join(directory, "hf"), { config, maxShardSize: 60_000 });
    expect(shards.files.filter(({ name }) => name.startsWith("model-")).length).toBeGreaterThan(3);
    expect(sorted(hashes(join(directory, "hf")))).toEqual(sorted(split.toHf));
    const ranks = await converted(split.hf, join(directory, "dcp"), { ranks: 3 });
    expect(ranks.files.filter(({ name }) => name.endsWith(".distcp"))).toHaveLength(3);
    expect(sorted(hashes(join(directory, "dcp")))).toEqual(sorted(split.fromHf));
  });

  it("goes from one native layout to another", async () => {
    const old = fixture("qwen3/torchtitan-0.2");
    const directory = scratch();
    const { from, to } = await converted(old.native, join(directory, "new"), { config: old.hf, to: "torchtitan" });
    expect([from.layout, to.layout]).toEqual(["torchtitan-0.2", "torchtitan"]);
    await converted(join(directory, "new"), join(directory, "hf"));
    expect(sorted(hashes(join(directory, "hf")))).toEqual(sorted(old.toHf));
  });
});

describe("--max-ram", () => {
  it("is refused up front where it is impossible", async () => {
    const target = join(scratch(), "out");
    expect(await code(converted(split.hf, target, { maxRamBytes: 1e6 }))).toBe("4 MAX_RAM_IMPOSSIBLE");
    expect(existsSync(target)).toBe(false);
  });

  it("shrinks the buffers, not the result", async () => {
    const target = join(scratch(), "out");
    await converted(split.hf, target, { maxRamBytes: 110e6 });
    expect(sorted(hashes(target))).toEqual(sorted(split.fromHf));
  });
});
