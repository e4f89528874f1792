// Models that are right, of configs and inputs that few have: none of them may be called wrong.
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { type ParityOptions, type ParityReport, runParity } from "../../src/parity/parity.ts";
import { f32 } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { configOf, madeModel } from "../helpers/made-model.ts";
import { fixtureCase } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";

type Options = Omit<ParityOptions, "a" | "b">;

async function parity(a: string, b: string, options: Options = {}, config?: string): Promise<ParityReport> {
  const [left, right] = [openCheckpoint(a), openCheckpoint(b)];
  try {
    const [x, y] = [openModel(left, { adapters, config }), openModel(right, { adapters, config })];
    return await runParity({ input: { kind: "random", tokens: 64 }, backend: "cpu", ...options, a: x, b: y });
  } finally {
    left.close();
    right.close();
  }
}

/** The same model with another config. */
const hfWith = (name: string, change: JsonObject) => (folder: string) => {
  const config = { ...configOf(fixtureCase(name).hf), ...change };
  return madeModel(join(scratch(), folder), config);
};

describe("gpt_oss whose gate and up are square", () => {
  const config = { ...configOf(fixtureCase("gpt_oss/mxfp4").hf), hidden_size: 64, intermediate_size: 32 };

  it("plain against MXFP4, and against the native layout", async () => {
    const { quantization_config: _, ...plainConfig } = config as JsonObject;
    const folder = scratch();
    const made = madeModel(join(folder, "made"), plainConfig);
    await converted(made, join(folder, "native"));
    await converted(join(folder, "native"), join(folder, "encoded"), { to: "hf", encoding: "mxfp4" });
    await converted(join(folder, "encoded"), join(folder, "coded-native"));
    await converted(join(folder, "coded-native"), join(folder, "decoded"), { to: "hf", encoding: "none" });
    expect(await parity(join(folder, "decoded"), join(folder, "encoded"))).toMatchObject({
      verdict: "pass",
      metrics: { klMeanNats: expect.closeTo(0, 12) },
    });
    expect(await parity(join(folder, "native"), made)).toMatchObject({ verdict: "pass" });
  });
});

it.each(["llama3/split", "qwen3_moe/untied", "deepseek_v3/mtp"])("%s: swish is silu", async (name) => {
  const [plain, renamed] = [hfWith(name, {})("plain"), hfWith(name, { hidden_act: "swish" })("renamed")];
  expect(await parity(plain, renamed)).toMatchObject({ verdict: "pass", configDifferences: [] });
});

describe("configs that differ without an effect", () => {
  it("a window as long as the context", async () => {
    const windowed = { use_sliding_window: true, max_window_layers: 0, layer_types: null };
    const at = (size: number) => hfWith("qwen3/split", { ...windowed, sliding_window: size })(`${size}`);
    const none = hfWith("qwen3/split", {})("none");
    expect(await parity(at(640), none)).toMatchObject({ verdict: "pass", configDifferences: [] });
    const { verdict, configDifferences } = await parity(at(639), none);
    expect(verdict).toBe("fail");
    expect(configDifferences).toContainEqual({ field: "sliding_window", a: 639, b: null });
  });

  it.each(["hf_dense/minicpm3-tied-bf16", "qwen3/split"])(
    "%s: a field that nothing reads is named, and fails nothing",
    async (name) => {
      const { hf, native } = fixtureCase(name);
      const named = join(scratch(), "named");
      cpSync(hf, named, { recursive: true });
      writeFileSync(join(named, "config.json"), JSON.stringify({ ...configOf(hf), trained_by: "a trainer" }));
      const { verdict, configDifferences, configs, checks } = await parity(hf, named);
      expect({ verdict, configDifferences, unread: configs.unread }).toEqual({
        verdict: "pass",
        configDifferences: [],
        unread: ["trained_by"],
      });
      const check = checks.find((each) => each.name === "the configs give the same mathematics");
      expect(check?.detail).toBe("each side's own; they differ in what no graph reads: trained_by");
      expect((await parity(native, hf, {}, hf)).configs).not.toHaveProperty("unread");
    },
  );

  it("an untied head that equals the embedding", async () => {
    const config = { ...configOf(fixtureCase("llama3/split").hf), tie_word_embeddings: false };
    const tied = madeModel(join(scratch(), "tied"), { ...config, tie_word_embeddings: true });
    const equal = madeModel(join(scratch(), "untied"), config, (state) => {
      state.set("lm_head.weight", state.get("model.embed_tokens.weight")!);
    });
    expect(await parity(tied, equal)).toMatchObject({ verdict: "pass", configDifferences: [] });
    expect(await parity(equal, tied)).toMatchObject({ verdict: "pass", configDifferences: [] });
    const other = madeModel(join(scratch(), "other"), config);
    expect(await parity(tied, other)).toMatchObject({
      verdict: "fail",
      configDifferences: [{ field: "tie_word_embeddings" }],
    });
  });
});

it.each(["kimi_k2_7/images", "muse_glimmer/images-bf16"])(
  "%s: video tokens without a video are refused",
  async (name) => {
    const { hf, native } = fixtureCase(name);
    const json = configOf(hf);
    const video = Number(json.video_token_id ?? json.media_video_token_id);
    const ids = join(scratch(), "ids.json");
    writeFileSync(ids, JSON.stringify([1, 2, video, 3]));
    const run = parity(native, hf, { input: { kind: "ids", file: ids } }, hf);
    await expect(run).rejects.toMatchObject({
      code: "INPUTS_INVALID",
      details: { expected: expect.stringContaining(`no video tokens (id ${video})`), found: "one at position 2" },
    });
  },
);

it.each(["qwen3/split", "qwen3_moe/untied"])(
  "%s: buffers of inverse frequencies are checked and left out",
  async (name) => {
    const config = configOf(fixtureCase(name).hf);
    const pairs = Number(config.head_dim) / 2;
    const theta = Number((config.rope_parameters as JsonObject).rope_theta);
    const frequencies = (wrong: number) => f32([pairs], (i) => theta ** (-i / pairs) * (i === 1 ? wrong : 1));
    const folder = scratch();
    const made = (wrong: number, key: string) =>
      madeModel(join(folder, `${wrong}${key}`), config, (state) => state.set(key, frequencies(wrong)));
    for (const key of ["model.rotary_emb.inv_freq", "model.layers.0.self_attn.rotary_emb.inv_freq"]) {
      const { dropped } = await converted(made(1, key), join(folder, `to-${key}`));
      expect(dropped.map((each) => each.key)).toEqual([key]);
      await expect(converted(made(1.5, key), join(folder, "bad"))).rejects.toMatchObject({ code: "DROP_NOT_DEFAULT" });
    }
  },
);
