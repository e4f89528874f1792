import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { type Validation, validate } from "../../src/verify/validate.ts";
import { f32, flipped, readState, type State, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { fixture, tableCases } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

async function validation(path: string, config?: string): Promise<Validation> {
  const checkpoint = openCheckpoint(path);
  try {
    return await validate(openModel(checkpoint, { adapters, config }));
  } finally {
    checkpoint.close();
  }
}

/** Notes, without those on the files beside them. */
const ofWeights = ({ notes }: Validation): string[] =>
  notes.filter((note) => !/no tokenizer|no config\.json of its own/.test(note));

describe.each(tableCases)("$name", ({ natives, hfs, hf }) => {
  it.each([...Object.values(natives), ...Object.values(hfs)])("%s is valid", async (path) => {
    const { differences, verdict } = await validation(path, hf);
    expect(differences).toEqual([]);
    expect(verdict).toBe("pass");
  });
});

describe("what must be found", () => {
  const split = fixture("llama3/split");
  const config = join(split.hf, "config.json");
  const up = "model.layers.0.mlp.up_proj.weight";
  const norm = "model.layers.0.input_layernorm.weight";

  const oneValue = (state: State, key: string, index: number, value: number) => {
    const { dtype, shape, bytes } = state.get(key)!;
    const values = new Float32Array(bytes.slice().buffer);
    values[index] = value;
    state.set(key, { dtype, shape, bytes: new Uint8Array(values.buffer) });
  };

  it.each<[string, string, string, (state: State) => void, RegExp]>([
    ["a missing tensor", up, "missing", (state) => state.delete(up), /expected F32 \[75, 54\]/],
    [
      "a tensor of nobody",
      "x",
      "extra",
      (state) =>
        state.set(
          "x",
          f32([1], () => 1),
        ),
      /no rule/,
    ],
    [
      "a wrong shape",
      up,
      "shape",
      (state) =>
        state.set(
          up,
          f32([54, 75], (i) => i),
        ),
      /expected \[75,54\], found \[54,75\]/,
    ],
    [
      "integers",
      up,
      "dtype",
      (state) => state.set(up, { dtype: "I8", shape: [75, 54], bytes: new Uint8Array(4050) }),
      /I8: a weight is F64, F32, F16 or BF16/,
    ],
    [
      "a NaN",
      up,
      "nan",
      (state) => oneValue(state, up, 60, Number.NaN),
      /^1 of 4050 elements are NaN; first at \[1, 6\]/,
    ],
    ["-Infinity at the end", up, "infinite", (state) => oneValue(state, up, 4049, -Infinity), /first at \[74, 53\]/],
    [
      "a matrix of zeros",
      up,
      "zero",
      (state) =>
        state.set(
          up,
          f32([75, 54], () => 0),
        ),
      /all 4050 elements are 0/,
    ],
    [
      "a matrix of one value",
      up,
      "constant",
      (state) =>
        state.set(
          up,
          f32([75, 54], () => 0.02),
        ),
      /are equal/,
    ],
    [
      "a norm of zeros",
      norm,
      "zero",
      (state) =>
        state.set(
          norm,
          f32([54], () => 0),
        ),
      /all 54 elements are 0/,
    ],
  ])("%s", async (_, key, kind, change, detail) => {
    const state = readState(split.hf);
    change(state);
    const { differences, verdict } = await validation(writeSafetensors(join(scratch(), "bad"), state, { config }));
    expect(verdict).toBe("fail");
    expect(differences).toEqual([{ key, kind, detail: expect.stringMatching(detail) }]);
  });

  it("a NaN in bf16 and in f16", async () => {
    for (const dtype of ["bf16", "f16"]) {
      const cast = join(scratch(), "cast");
      await converted(split.hf, cast, { to: "hf", dtype: [dtype] });
      const state = readState(cast);
      const { bytes, ...rest } = state.get(up)!;
      const bad = Uint8Array.from(bytes);
      bad.set(dtype === "bf16" ? [0x81, 0x7f] : [0x01, 0xfc], 10);
      state.set(up, { ...rest, bytes: bad });
      const { differences } = await validation(writeSafetensors(join(scratch(), "bad"), state, { config }));
      expect(differences).toEqual([{ key: up, kind: "nan", detail: expect.stringContaining("first at [0, 5]") }]);
    }
  });

  it("norms of ones, biases of zeros and scalars are no finding", async () => {
    const biased = fixture("llama3/biased");
    const state = readState(biased.hf);
    for (const [key, { shape }] of state) {
      if (key.endsWith("norm.weight"))
        state.set(
          key,
          f32(shape, () => 1),
        );
      if (key.endsWith(".bias"))
        state.set(
          key,
          f32(shape, () => 0),
        );
    }
    const path = writeSafetensors(join(scratch(), "fresh"), state, { config: join(biased.hf, "config.json") });
    expect((await validation(path)).differences).toEqual([]);
  });

  it("a stale tied head", async () => {
    const tied = fixture("llama3/fused-tied");
    const state = readState(tied.native);
    state.set("lm_head.weight", flipped(state.get("lm_head.weight")!, 7));
    const { differences } = await validation(writeDcp(join(scratch(), "stale"), state), tied.hf);
    expect(differences).toEqual([{ key: "lm_head.weight", kind: "tie", detail: expect.stringContaining("element 1") }]);
  });

  it("several at once", async () => {
    const state = readState(split.hf);
    state.delete(up);
    state.delete("lm_head.weight");
    oneValue(state, norm, 3, Number.POSITIVE_INFINITY);
    const { differences, checks } = await validation(writeSafetensors(join(scratch(), "bad"), state, { config }));
    expect(differences.map(({ kind }) => kind).sort()).toEqual(["infinite", "missing", "missing"]);
    expect(checks.filter(({ failed }) => failed > 0).map(({ failed }) => failed)).toEqual([2, 1]);
  });

  it("a config that declares another dtype is told", async () => {
    const cast = join(scratch(), "cast");
    await converted(split.hf, cast, { to: "hf", dtype: ["bf16"] });
    const path = writeSafetensors(join(scratch(), "other"), readState(cast), { config });
    expect(ofWeights(await validation(path))).toEqual([expect.stringContaining("float32")]);
  });
});

describe("values that some models begin with", () => {
  const zeros = (state: State, pattern: RegExp): State => {
    for (const [key, { dtype, shape, bytes }] of state) {
      if (pattern.test(key)) state.set(key, { dtype, shape, bytes: new Uint8Array(bytes.length) });
    }
    return state;
  };
  const validated = (name: string, pattern: RegExp, side: "hf" | "native" = "hf") => {
    const { hf, native } = fixture(name);
    const path = join(scratch(), "fresh");
    const state = zeros(readState(side === "hf" ? hf : native), pattern);
    if (side === "native") return validation(writeDcp(path, state), hf);
    return validation(writeSafetensors(path, state, { config: join(hf, "config.json") }));
  };

  it.each([
    ["hf_dense/gemma2-tied-bf16", /norm\.weight$/],
    ["hf_dense/nemotron-bf16", /norm\.weight$/],
    ["qwen3_5/dense", /(layernorm|model\.norm|[qk]_norm|language_model\.norm)\.weight$/],
    ["qwen3_5_moe/text", /(layernorm|[qk]_norm)\.weight$/],
    ["muse_glimmer/text", /layernorm\.weight$/],
  ])("%s: norms that multiply by 1 + weight are zeros at first", async (name, pattern) => {
    const { differences, notes } = await validated(name, pattern);
    expect(differences).toEqual([]);
    expect(notes.join()).not.toContain("are 0");
  });

  it("the same in native layouts", async () => {
    const { differences } = await validated("qwen3_5/dense", /(attention_norm|ffn_norm|^norm)\.weight$/, "native");
    expect(differences).toEqual([]);
  });

  it.each([
    ["qwen3_5/dense", /linear_attn\.norm\.weight$/],
    ["llama3/split", /norm\.weight$/],
    ["hf_dense/olmo2", /norm\.weight$/],
  ])("%s: other norms of zeros are a finding", async (name, pattern) => {
    const { differences } = await validated(name, pattern);
    expect(differences.length).toBeGreaterThan(0);
    expect(new Set(differences.map(({ kind }) => kind))).toEqual(new Set(["zero"]));
  });

  it("biases of experts are biases, though they stand in a matrix", async () => {
    expect((await validated("gpt_oss/bf16", /proj_bias$/)).differences).toEqual([]);
    expect((await validated("gpt_oss/bf16", /mlp\d_bias/, "native")).differences).toEqual([]);
  });

  it("the last maps of all residual branches are a note, one of them is a finding", async () => {
    const all = await validated("llama3/split", /\.(o|down)_proj\.weight$/);
    expect(all).toMatchObject({ verdict: "pass", differences: [] });
    expect(all.notes.filter((note) => /like ".*(o|down)_proj.*are 0/.test(note))).toHaveLength(2);
    const one = await validated("llama3/split", /layers\.1\.self_attn\.o_proj\.weight$/);
    expect(one.differences.map(({ key, kind }) => [key, kind])).toEqual([
      ["model.layers.1.self_attn.o_proj.weight", "zero"],
    ]);
    const other = await validated("llama3/split", /q_proj\.weight$/);
    expect(other.verdict).toBe("fail");
  });

  it.each([
    [2 ** -130, "f32"],
    [2 ** -20, "f16"],
  ])("a matrix of subnormal values alone: %d in %s", async (size, dtype) => {
    const { hf } = fixture("llama3/split");
    const key = "model.layers.0.mlp.up_proj.weight";
    const made = (values: (i: number) => number) => {
      const state = readState(hf);
      state.set(key, f32([75, 54], values));
      return writeSafetensors(join(scratch(), "small"), state, { config: join(hf, "config.json") });
    };
    const cast = async (values: (i: number) => number) => {
      const target = join(scratch(), "cast");
      await converted(made(values), target, { to: "hf", dtype: [dtype] });
      return validation(target);
    };
    const small = await cast((i) => (i % 3) * size);
    expect(small.differences).toEqual([
      { key, kind: "subnormal", detail: expect.stringContaining("below the smallest") },
    ]);
    // Weights of f16 are often that small; those of f32 are not.
    const amongOthers = (await cast((i) => (i === 77 ? 1 : (i % 3) * size))).differences;
    expect(amongOthers.map(({ kind }) => kind)).toEqual(dtype === "f16" ? [] : ["implausible"]);
    expect((await cast((i) => (i === 77 ? size : 1 + (i % 3)))).differences).toEqual([]);
  });
});

describe("a router in F32 beside weights in BF16, as transformers 5.24 saves DeepSeek-V3", () => {
  const { hf, natives } = fixture("deepseek_v3/noqlora-bf16");
  const widened = () => {
    const state = readState(hf);
    for (const [key, { shape, bytes }] of state) {
      if (!key.endsWith(".mlp.gate.weight")) continue;
      const halves = new Uint16Array(bytes.slice().buffer);
      const wide = Uint32Array.from(halves, (bits) => bits << 16);
      state.set(key, { dtype: "F32", shape, bytes: new Uint8Array(wide.buffer) });
    }
    const path = join(scratch(), "model");
    writeSafetensors(path, state);
    return path;
  };

  it("is valid, and says which versions keep it", async () => {
    const found = await validation(widened(), join(hf, "config.json"));
    expect(found.verdict).toBe("pass");
    expect(ofWeights(found)).toEqual([expect.stringMatching(/"….mlp.gate.weight" are F32.*up to 5.23/)]);
    expect(ofWeights(await validation(hf))).toEqual([]);
    expect((await validation(Object.values(natives)[0]!, hf)).notes).toEqual([]);
  });
});
