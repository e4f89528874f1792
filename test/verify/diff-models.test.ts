// What diff says beside tensors that differ: casts, configs, aliases, and what neither side has.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { diffDocument } from "../../src/report/views/diff.ts";
import { type Diff, type DiffOptions, diff } from "../../src/verify/diff.ts";
import { f32, flipped, readState, type State, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { FIXTURES, fixture } from "../helpers/fixtures.ts";
import { configOf, madeModel } from "../helpers/made-model.ts";
import { scratch } from "../helpers/scratch.ts";

async function differences(a: string, b: string, options: Partial<DiffOptions> = {}): Promise<Diff> {
  const [left, right] = [openCheckpoint(a), openCheckpoint(b)];
  try {
    return await diff(left, right, { a: { adapters }, b: { adapters }, ...options });
  } finally {
    left.close();
    right.close();
  }
}

const found = ({ differences }: Diff) => differences.map(({ key, kind }) => [key, kind]);
const headline = (result: Diff) => diffDocument(result).headline;

/** A copy of a Hugging Face folder with other tensors, or with another config. */
function changed(hf: string, change: (state: State) => void, config: JsonObject = {}): string {
  const folder = join(scratch(), "changed");
  const state = readState(hf);
  change(state);
  writeSafetensors(folder, state);
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...configOf(hf), ...config }));
  return folder;
}

const same = () => {};
const split = fixture("llama3/split");
const up = "model.layers.0.mlp.up_proj.weight";

describe("after a cast", () => {
  const afterCast = true;
  const cast = async (from: string, dtype: string, more: { to?: string; config?: string } = {}) => {
    const target = join(scratch(), dtype);
    await converted(from, target, { dtype: [dtype], to: "hf", ...more });
    return target;
  };

  it.each([
    ["llama3/split", "bf16"],
    ["qwen3/fused-tied", "f16"],
    ["deepseek_v3/mtp", "bf16"],
  ])("%s as %s is exactly its rounding, in every layout", async (name, dtype) => {
    const { hf, native } = fixture(name);
    const rounded = await cast(hf, dtype);
    const config = { a: { adapters, config: hf }, b: { adapters, config: hf } };
    for (const a of [hf, native]) {
      expect((await differences(a, rounded, config)).verdict).toBe("fail");
      const result = await differences(a, rounded, { ...config, afterCast });
      expect(result).toMatchObject({ verdict: "pass", differences: [], cast: { asked: true, exact: true } });
      expect(headline(result)).toMatch(/^equal after the cast F32 → .*exactly the rounding of a/);
    }
    const trained = join(scratch(), "native");
    await converted(hf, trained, { dtype: [dtype] });
    expect((await differences(hf, trained, { afterCast })).verdict).toBe("pass");
    expect((await differences(native, trained, { ...config, afterCast })).verdict).toBe("pass");
  });

  it("without the flag the way out is named, and only where it is one", async () => {
    const rounded = await cast(split.hf, "bf16");
    const plain = await differences(split.hf, rounded);
    expect(plain).toMatchObject({ verdict: "fail", cast: { asked: false, exact: true } });
    expect(plain.notes.join()).toMatch(/b is exactly the rounding of a, bit for bit: F32 → BF16.*--after-cast/);
    const stale = changed(rounded, (state) => state.set(up, flipped(state.get(up)!, 100)));
    const other = await differences(split.hf, stale);
    expect(other.notes.join()).toMatch(/not a cast alone: 1 of these/);
  });

  it("what is wrong beside the cast is named", async () => {
    const rounded = await cast(split.hf, "bf16");
    const bf16 = (state: State, key: string) => new Uint16Array(state.get(key)!.bytes.slice().buffer);
    const set = (state: State, key: string, words: Uint16Array) =>
      state.set(key, { ...state.get(key)!, bytes: new Uint8Array(words.buffer) });
    const [q, k] = ["q", "k"].map((name) => `model.layers.1.self_attn.${name}_proj.weight`);
    const faults: [string[][], (state: State) => void][] = [
      [[[up, "values"]], (state) => state.set(up, flipped(state.get(up)!, 0))],
      [
        [[up, "values"]],
        (state) =>
          set(
            state,
            up,
            bf16(state, up).map((word) => word + 0x80),
          ),
      ],
      [[[k!, "missing"]], (state) => state.delete(k!)],
      [
        [[q!, "values"]],
        (state) => {
          const rows = readState(split.native).get("layers.1.attention.qkv_linear.wq.weight")!;
          const words = new Uint16Array(new Float32Array(rows.bytes.slice().buffer).length);
          new Uint32Array(rows.bytes.slice().buffer).forEach((bits, i) => {
            words[i] = (bits + 0x7fff + ((bits >> 16) & 1)) >>> 16;
          });
          set(state, q!, words);
        },
      ],
    ];
    for (const [expected, change] of faults) {
      const result = await differences(split.hf, changed(rounded, change), { afterCast });
      expect(result.verdict).toBe("fail");
      expect(found(result)).toEqual(expected);
    }
    const one = await differences(split.hf, changed(rounded, faults[0]![1]), { afterCast });
    expect(one.differences[0]!.detail).toMatch(
      /^1 of 4050 elements differ, first at \[0, 0\]: .* in a as cast, .* in b/,
    );
  });

  it("a truncated copy is not the rounding", async () => {
    const truncated = changed(split.hf, (state) => {
      for (const [key, { shape, bytes }] of state) {
        const words = Uint16Array.from(new Uint32Array(bytes.slice().buffer), (bits) => bits >>> 16);
        state.set(key, { dtype: "BF16", shape, bytes: new Uint8Array(words.buffer) });
      }
    });
    const result = await differences(split.hf, truncated, { afterCast });
    expect(result).toMatchObject({ verdict: "fail", cast: { exact: false } });
  });

  it("a NaN stays one, whatever its bits", async () => {
    const source = changed(split.hf, (state) =>
      state.set(
        "model.norm.weight",
        f32([54], (i) => (i === 3 ? Number.NaN : 1)),
      ),
    );
    const rounded = await cast(source, "bf16");
    const other = changed(rounded, (state) => {
      const { bytes, ...rest } = state.get("model.norm.weight")!;
      const words = new Uint16Array(bytes.slice().buffer);
      words[3] = 0xffff;
      state.set("model.norm.weight", { ...rest, bytes: new Uint8Array(words.buffer) });
    });
    expect((await differences(source, other, { afterCast })).verdict).toBe("pass");
    const lost = changed(rounded, (state) => {
      const { bytes, ...rest } = state.get("model.norm.weight")!;
      state.set("model.norm.weight", { ...rest, bytes: bytes.with(6, 0x80).with(7, 0x3f) });
    });
    expect(found(await differences(source, lost, { afterCast }))).toEqual([["model.norm.weight", "values"]]);
  });

  it("a wider b is a's values, and the wrong way round says so", async () => {
    const rounded = await cast(split.hf, "bf16");
    const wide = await cast(rounded, "f32");
    expect((await differences(rounded, wide, { afterCast })).verdict).toBe("pass");
    const reversed = await differences(rounded, split.hf, { afterCast });
    expect(reversed.verdict).toBe("fail");
    expect(reversed.notes.join()).toMatch(/a is exactly the rounding of b: give them the other way round/);
    expect(
      (await differences(split.hf, split.native, { afterCast, a: { adapters }, b: { adapters, config: split.hf } }))
        .notes,
    ).toContain("--after-cast: both sides have the same element types, nothing was cast");
  });

  it("what is decoded is decoded exactly, then rounded once", async () => {
    const hf = join(FIXTURES, "deepseek_v3/fp8/hf");
    for (const dtype of ["bf16", "f16", "f32"]) {
      const target = join(scratch(), dtype);
      await converted(hf, target, { to: "hf", encoding: "none", dtype: [dtype] });
      expect(await differences(hf, target, { afterCast })).toMatchObject({ verdict: "pass", differences: [] });
    }
  });
});

describe("configs", () => {
  it("that differ are told, and leave the verdict alone", async () => {
    const { rope_parameters: rope, ...rest } = configOf(split.hf);
    const theta = { rope_parameters: { ...(rope as JsonObject), rope_theta: 1234 }, ...rest };
    const result = await differences(split.hf, changed(split.hf, same, theta));
    expect(result).toMatchObject({
      verdict: "pass",
      configDifferences: [{ field: "rope_parameters.rope_theta", b: 1234 }],
    });
    expect(headline(result)).toMatch(/^equal: .*; but the configs differ: rope_parameters.rope_theta \d+ \| 1234$/);
  });

  it("of other fields and spellings that compute the same do not differ", async () => {
    const v4 = { transformers_version: "4.40.0", use_cache: false, hidden_act: "swish", bos_token_id: 99 };
    const result = await differences(split.hf, changed(split.hf, same, v4));
    expect(result).toMatchObject({ verdict: "pass", configDifferences: [], configsNotCompared: null });
  });

  it("say which fields they differ in that nothing reads", async () => {
    const result = await differences(split.hf, changed(split.hf, same, { trained_by: "a trainer", use_cache: false }));
    expect(result.configDifferences).toEqual([]);
    expect(result.notes).toEqual(["not compared, as no graph reads them, the configs' trained_by"]);
  });

  it("of a Meta folder are its params.json", async () => {
    const [meta, hf] = [join(scratch(), "meta"), join(scratch(), "hf")];
    cpSync(join(FIXTURES, "meta/llama3"), meta, { recursive: true });
    const params: JsonObject = JSON.parse(readFileSync(join(meta, "params.json"), "utf8"));
    await converted(meta, hf);
    expect(await differences(meta, hf)).toMatchObject({ verdict: "pass", configDifferences: [] });
    writeFileSync(join(meta, "params.json"), JSON.stringify({ ...params, rope_theta: 4321 }));
    expect(await differences(meta, hf)).toMatchObject({
      verdict: "pass",
      configDifferences: [{ field: "rope_parameters.rope_theta", a: 4321 }],
    });
  });

  it("of which there is one for both sides are not compared", async () => {
    const options = { a: { adapters, config: split.hf }, b: { adapters, config: split.hf } };
    const result = await differences(split.native, split.hf, options);
    expect(result).toMatchObject({
      configDifferences: null,
      configsNotCompared: expect.stringMatching(/both sides use/),
    });
    expect(diffDocument(result).checks).toContainEqual(expect.objectContaining({ status: "not checked" }));
  });
});

describe("one model in two spellings", () => {
  it("of Kimi, whichever side has which", async () => {
    const { hf, hfs } = fixture("kimi_k2_7/images");
    const saved = hfs["hf-saved"]!;
    expect(await differences(hf, saved)).toMatchObject({ verdict: "pass", differences: [] });
    const key = "language_model.model.norm.weight";
    const bad = changed(saved, (state) => {
      const own = [...state.keys()].find((each) => each.endsWith("norm.weight") && !/layer|block|tower/.test(each))!;
      state.set(own, flipped(state.get(own)!));
    });
    expect(found(await differences(hf, bad))).toEqual([[key, "values"]]);
  });

  it("with the tied head in one file, equal or stale", async () => {
    const { hf } = fixture("llama3/fused-tied");
    const head = (state: State) => state.get("model.embed_tokens.weight")!;
    const shipped = changed(hf, (state) => state.set("lm_head.weight", head(state)));
    const equal = await differences(hf, shipped);
    expect(equal.verdict).toBe("pass");
    expect(equal.notes).toContain('"lm_head.weight" in b alone, an alias of what is compared');
    const stale = changed(hf, (state) => state.set("lm_head.weight", flipped(head(state))));
    expect(found(await differences(hf, stale))).toEqual([["lm_head.weight", "tie"]]);
  });

  it("tied on one side, untied on the other", async () => {
    const config = { ...configOf(split.hf), tie_word_embeddings: false };
    const untied = (change: (state: State) => void) =>
      changed(madeModel(join(scratch(), "made"), config), (state) => {
        state.set("lm_head.weight", state.get("model.embed_tokens.weight")!);
        change(state);
      });
    const tied = changed(untied(same), (state) => state.delete("lm_head.weight"), { tie_word_embeddings: true });
    for (const [a, b] of [
      [untied(same), tied],
      [tied, untied(same)],
    ] as const) {
      const result = await differences(a, b);
      expect(result.verdict).toBe("pass");
      expect(result.notes.join()).toMatch(/"lm_head.weight" of . is "model.embed_tokens.weight" in ., .* equal/);
    }
    const other = untied((state) => state.set("lm_head.weight", flipped(state.get("lm_head.weight")!)));
    expect(found(await differences(other, tied))).toEqual([["lm_head.weight", "values"]]);
  });

  it("with the Hub's copies of embedding and head in MTP layers", async () => {
    const { hf } = fixture("deepseek_v3/mtp");
    const layers = Number(configOf(hf).num_hidden_layers);
    const hub = changed(hf, (state) => {
      state.set(`model.layers.${layers}.embed_tokens.weight`, state.get("model.embed_tokens.weight")!);
      state.set(`model.layers.${layers}.shared_head.head.weight`, state.get("lm_head.weight")!);
    });
    const bare = changed(hf, (state) => {
      state.delete(`model.layers.${layers}.embed_tokens.weight`);
      state.delete(`model.layers.${layers}.shared_head.head.weight`);
    });
    expect(await differences(bare, hub)).toMatchObject({ verdict: "pass", differences: [] });
  });
});

describe("what the configs name and neither side has", () => {
  const deeper = { num_hidden_layers: Number(configOf(split.hf).num_hidden_layers) + 3 };
  const layer = Number(configOf(split.hf).num_hidden_layers);

  it("fails where tables were needed to compare", async () => {
    const hf = changed(split.hf, same, deeper);
    const result = await differences(split.native, hf, { a: { adapters, config: hf }, b: { adapters } });
    expect(result.verdict).toBe("fail");
    expect(result.differences.length).toBe(3 * 9);
    expect(result.differences[0]).toMatchObject({
      key: expect.stringContaining(`model.layers.${layer}.`),
      kind: "missing",
      detail: expect.stringMatching(/^neither in a nor in b: expected/),
    });
  });

  it("is told where files of one layout are equal", async () => {
    const hf = changed(split.hf, same, deeper);
    const result = await differences(hf, hf);
    expect(result.verdict).toBe("pass");
    expect(result.notes.join()).toMatch(/NOT a whole model: the config names 27 tensors that neither side has/);
    const native = join(scratch(), "dcp");
    mkdirSync(native);
    writeDcp(native, readState(split.native), { config: join(hf, "config.json") });
    expect((await differences(native, native)).notes.join()).toMatch(/NOT a whole model: the config names \d+ tensors/);
  });
});
