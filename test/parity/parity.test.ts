import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { reordered } from "../../src/faults/edit.ts";
import { toHalves } from "../../src/faults/kinds/axes.ts";
import { openSafetensors } from "../../src/formats/safetensors/open.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { runParity } from "../../src/parity/parity.ts";
import { type FixtureCase, fixtureCases } from "../helpers/fixtures.ts";
import { runBy } from "../helpers/layouts.ts";
import { configOf } from "../helpers/made-model.ts";
import {
  bytesOf,
  faulty,
  fixtureCase,
  hfSide,
  mutated,
  nativeSide,
  openHf,
  withCheckpoint,
} from "../helpers/models.ts";
import { recorded } from "../helpers/tensors.ts";

const folder = mkdtempSync(join(tmpdir(), "parity-"));
afterAll(() => rmSync(folder, { recursive: true }));
const backend = "cpu";

/** Images come with the golden's ids. */
const inputOf = ({ inputs }: FixtureCase) =>
  inputs === null ? {} : { input: { kind: "inputs", file: inputs } as const };

/** gpt_oss: YaRN's factor is on cos and sin, rounded to f32 with them, or on the softmax scale in f64. */
const limitOf = ({ family }: FixtureCase): number => (family === "gpt_oss" ? 1e-12 : 1e-13);

/** Known differences that are about logits, and those that random ids (MTP layers) or random images show as well. */
const differsUpstream = ({ name, knownDifferences }: FixtureCase): boolean =>
  ["qwen3/yarn", "deepseek_v3/mtp", "muse_glimmer/text", "qwen3_5/dense", "qwen3_5_moe/text"].includes(name) ||
  knownDifferences.length > 0;

describe.each(fixtureCases.map((entry) => [entry.name, entry] as const))("%s", (name, entry) => {
  test.each(Object.keys(entry.hfs))("%s: the HF graph gives transformers' f64 logits", async (hf) => {
    const a = withCheckpoint(hfSide(name), openHf(entry.hfs[hf]!));
    const report = await runParity({ a, golden: entry.golden, backend, ...inputOf(entry) });
    expect(report).toMatchObject({ verdict: "pass", findings: [], inputs: { tokens: entry.tokens } });
    expect(report.metrics.klMeanNats).toBeLessThan(1e-13);
    expect(report.metrics).toMatchObject({ top1: 1, top5: 1, tokens: entry.tokens });
  });

  test("the native graph gives the same logits as the HF graph", async () => {
    const report = await runParity({
      a: nativeSide(name),
      b: hfSide(name),
      backend,
      localise: true,
      maxKlNats: limitOf(entry),
      ...inputOf(entry),
    });
    const tokens = Math.min(512, hfSide(name).family.maxPositions);
    if (entry.inputs === null) expect(report.inputs).toMatchObject({ kind: "random", tokens, seed: 0 });
    expect(report.reference).toBe("b");
    expect(report).toMatchObject({ verdictWithoutKnown: "pass", unusedTensors: [] });
    if (differsUpstream(entry)) {
      const [largest] = report.knownDifferences.toSorted((a, b) => b.klMeanNats - a.klMeanNats);
      expect(report).toMatchObject({ verdict: "fail", cause: { code: largest!.code } });
      const shares = report.knownDifferences.reduce((sum, { klMeanNats }) => sum + klMeanNats, 0);
      expect(shares).toBeCloseTo(report.metrics.klMeanNats, 12);
    } else {
      expect(report).toMatchObject({ verdict: "pass", findings: [], firstDivergence: null, cause: null });
    }
  });
});

test.each(
  fixtureCases.filter(({ nativeGolden }) => nativeGolden !== null).map((entry) => [entry.name, entry] as const),
)("%s: the native graph gives torchtitan's f64 logits", async (name, entry) => {
  const golden = entry.nativeGolden ?? "";
  const report = await runParity({ a: nativeSide(name), golden, backend, ...inputOf(entry) });
  expect(report.verdict).toBe("pass");
  expect(report.metrics.klMeanNats).toBeLessThan(1e-13);
});

test("a known upstream difference passes only where it is accepted", async () => {
  const options = { a: nativeSide("qwen3/yarn"), b: hfSide("qwen3/yarn"), backend } as const;
  expect((await runParity(options)).verdict).toBe("fail");
  // It makes another model: only its name lets it pass, and a ceiling only what is below it.
  const bare = await runParity({ ...options, acceptKnown: true });
  expect(bare).toMatchObject({
    verdict: "fail",
    verdictWithoutKnown: "pass",
    knownDifferences: [{ accepted: false, reason: expect.stringContaining("by name alone") }],
  });
  const code = "YARN_ATTENTION_FACTOR";
  const { klMeanNats } = bare.metrics;
  for (const [klNats, verdict] of [
    [undefined, "pass"],
    [2 * klMeanNats, "pass"],
    [klMeanNats / 2, "fail"],
  ] as const) {
    expect(await runParity({ ...options, acceptKnown: [{ code, klNats }] })).toMatchObject({ verdict });
  }
  const accepted = await runParity({ ...options, acceptKnown: [{ code }] });
  expect(accepted).toMatchObject({ findings: [], knownDifferences: [{ code, accepted: true, reason: null }] });
  expect(accepted.checks[0]).toMatchObject({
    name: expect.stringMatching(/^mean KL without accepted known/),
    status: "passed",
  });
  const unknown = runParity({ ...options, acceptKnown: [{ code: "NO_SUCH_CODE" }] });
  await expect(unknown).rejects.toMatchObject({
    code: "ACCEPT_KNOWN_CODE",
    exitCode: 2,
    details: { expected: "SLIDING_WINDOW, YARN_ATTENTION_FACTOR" },
  });
});

test("what is measured as small is accepted without a name, and no more than that", async () => {
  const [a, b] = [nativeSide("qwen3_5/vision-tied-bf16"), hfSide("qwen3_5/vision-tied-bf16")];
  expect((await runParity({ a, b, backend, maxKlNats: 1e-12 })).verdict).toBe("fail");
  expect(await runParity({ a, b, backend, maxKlNats: 1e-12, acceptKnown: true })).toMatchObject({ verdict: "pass" });
  const eps = { rms_norm_eps: 1e-3 };
  const change = {
    text_config: { ...(configOf(fixtureCase("qwen3_5/vision-tied-bf16").hf).text_config as JsonObject), ...eps },
  };
  const [c, d] = [nativeSide("qwen3_5/vision-tied-bf16", change), hfSide("qwen3_5/vision-tied-bf16", change)];
  const large = await runParity({ a: c, b: d, backend, acceptKnown: true });
  expect(large).toMatchObject({ verdict: "fail", verdictWithoutKnown: "pass", cause: { code: "NORM_EPS" } });
});

/** llama3/split: two layers, 6 query and 2 key heads of 10 channels. */
describe("a fault in the weights fails", () => {
  const q = (layer: number) => `model.layers.${layer}.self_attn.q_proj.weight`;
  const k = (layer: number) => `model.layers.${layer}.self_attn.k_proj.weight`;
  const hf = hfSide("llama3/split");
  const fault = (kind: string, ...keys: readonly string[]) => faulty("llama3/split", kind, ...keys);
  const reorder = (keys: readonly string[], order: (row: number) => number) =>
    mutated(hf, Object.fromEntries(keys.map((key) => [key, { bytes: reordered(hf.checkpoint, key, order) }])));
  const compare = (b: typeof hf) => runParity({ a: nativeSide("llama3/split"), b, backend });

  test("queries and keys not permuted", async () => {
    const report = await compare(fault("rope-k-not-permuted", q(0), q(1), k(0), k(1)));
    expect(report).toMatchObject({ verdict: "fail", firstDivergence: { tap: "layers.0.attn", inherited: 0 } });
    expect(report.firstDivergence?.tensors).toContain(q(0));
    // Position 0 is not rotated: the two orders of its channels give the same scores.
    expect(report.positions.bands[0]?.klMaxNats).toBeLessThan(1e-12);
  });

  test("queries and keys permuted twice", async () => {
    expect((await compare(reorder([q(0), q(1), k(0), k(1)], toHalves(10)))).verdict).toBe("fail");
  });

  test("keys of the second layer alone not permuted", async () => {
    const report = await compare(fault("rope-k-not-permuted", k(1)));
    expect(report).toMatchObject({ verdict: "fail", firstDivergence: { tap: "layers.1.attn" } });
    expect(report.firstDivergence?.inherited).toBeLessThan(1e-9);
  });

  test("gate and up swapped in one layer", async () => {
    const report = await compare(fault("tensors-swapped", "model.layers.1.mlp.gate_proj.weight"));
    expect(report).toMatchObject({ verdict: "fail", firstDivergence: { tap: "layers.1.ffn" } });
    expect(report.firstDivergence?.tensors).toEqual([
      "layers.1.ffn_norm.weight",
      "layers.1.feed_forward.w1.weight",
      "layers.1.feed_forward.w3.weight",
      "layers.1.feed_forward.w2.weight",
      "model.layers.1.post_attention_layernorm.weight",
      "model.layers.1.mlp.gate_proj.weight",
      "model.layers.1.mlp.up_proj.weight",
      "model.layers.1.mlp.down_proj.weight",
    ]);
  });

  test("two rows of the head swapped", async () => {
    const swap = (row: number) => (row === 7 ? 8 : row === 8 ? 7 : row);
    const report = await compare(reorder(["lm_head.weight"], swap));
    expect(report).toMatchObject({
      verdict: "fail",
      firstDivergence: { tap: "logits", tensors: ["lm_head.weight"] },
    });
  });

  test("one NaN", async () => {
    const report = await compare(fault("one-nan", "model.layers.0.mlp.down_proj.weight"));
    expect(report).toMatchObject({
      verdict: "fail",
      nonFinite: { first: { side: "reference", position: 0, value: "NaN" } },
      firstDivergence: { tap: "layers.0.ffn" },
      cause: { code: "NON_FINITE", tensors: ["model.layers.0.mlp.down_proj.weight"] },
    });
    expect(report.metrics.klMeanNats).toBeNaN();
    expect(report.metrics.top1).toBe(0);
  });

  test("a NaN where only some tokens see it", async () => {
    const key = "model.embed_tokens.weight";
    const bytes = bytesOf(hf.checkpoint, key);
    new Float32Array(bytes.buffer)[262 * 54] = Number.NaN;
    const report = await compare(mutated(hf, { [key]: { bytes } }));
    expect(report).toMatchObject({ verdict: "fail", nonFinite: { first: { position: 1 } } });
  });

  test("a missing tensor, by name", async () => {
    const key = "model.layers.1.mlp.up_proj.weight";
    await expect(compare(mutated(hf, { [key]: null }))).rejects.toMatchObject({
      code: "MISSING_TENSOR",
      exitCode: 3,
      details: { tensor: key },
    });
  });

  test("a tensor that no rule knows, by name", async () => {
    const key = "model.layers.2.mlp.up_proj.weight";
    const info = hf.checkpoint.tensors.get("model.layers.1.mlp.up_proj.weight")!;
    await expect(
      compare(mutated(hf, { [key]: { bytes: new Uint8Array(info.byteLength), info } })),
    ).rejects.toMatchObject({
      code: "UNKNOWN_TENSOR",
      details: { tensor: key },
    });
  });
});

describe("a tied head", () => {
  const hf = hfSide("llama3/fused-tied");
  const embed = hf.checkpoint.tensors.get("model.embed_tokens.weight")!;
  const withHead = (bytes: Uint8Array) => mutated(hf, { "lm_head.weight": { bytes, info: embed } });
  const compare = (b: typeof hf) => runParity({ a: nativeSide("llama3/fused-tied"), b, backend });

  test("that repeats the embedding passes", async () => {
    expect((await compare(withHead(bytesOf(hf.checkpoint, embed.key)))).verdict).toBe("pass");
  });

  test("that is stale fails", async () => {
    expect(await compare(faulty("llama3/fused-tied", "tied-head-stale", "lm_head.weight"))).toMatchObject({
      verdict: "fail",
      findings: [{ code: "TIE_BROKEN" }],
      cause: { code: "STALE_TIED_HEAD", tensors: ["lm_head.weight", "model.embed_tokens.weight"] },
    });
  });
});

describe("a config that gives other mathematics fails", () => {
  const rope = (theta: number) => ({ rope_parameters: { rope_type: "default", rope_theta: theta } });

  test("theta 1e6 → 1e4", async () => {
    const report = await runParity({
      a: nativeSide("qwen3/split"),
      b: faulty("qwen3/split", "rope-theta-default", "rope_theta"),
      backend,
    });
    expect(report).toMatchObject({
      verdict: "fail",
      cause: { code: "CONFIG_DIFFERS", fields: ["rope_parameters.rope_theta"] },
    });
    expect(report.findings.map(({ code }) => code)).toEqual(["KL", "CONFIG"]);
    const floor = String.raw`(0|\d\.\d+e-1\d) nats/token`;
    expect(report.cause?.evidence).toMatch(
      new RegExp(
        `^rope_parameters.rope_theta: 1000000 in a, 10000 in b; mean KL is \\d.*; with a's config on both sides it is ${floor}; with b's config on both sides it is ${floor}; which .* --golden tells$`,
      ),
    );
  });

  test("theta on the only side, against the golden", async () => {
    const { golden } = fixtureCase("qwen3/split");
    const report = await runParity({ a: hfSide("qwen3/split", rope(1e4)), golden, backend });
    expect(report).toMatchObject({ verdict: "fail", findings: [{ code: "KL" }] });
  });

  test("eps, even where logits hardly show it", async () => {
    const b = hfSide("llama3/split", { rms_norm_eps: 1.001e-5 });
    const report = await runParity({ a: nativeSide("llama3/split"), b, backend });
    expect(report.metrics.klMeanNats).toBeLessThan(1e-8);
    expect(report).toMatchObject({
      verdict: "fail",
      findings: [{ code: "CONFIG" }],
      configDifferences: [{ field: "rms_norm_eps", a: 1e-5, b: 1.001e-5 }],
    });
  });

  test("a longer context alone is no difference", async () => {
    const b = hfSide("llama3/split", { max_position_embeddings: 4096 });
    expect((await runParity({ a: nativeSide("llama3/split"), b, backend })).verdict).toBe("pass");
  });
});

describe("thresholds", () => {
  const { golden } = fixtureCase("llama3/split");

  test("the default is a mean KL of 1e-8 nats per token", async () => {
    const report = await runParity({ a: hfSide("llama3/split"), golden, backend });
    expect(report.thresholds).toEqual({ klMeanNats: 1e-8, top1: null, origin: "default" });
  });

  test("a given one that is not met fails", async () => {
    const report = await runParity({ a: hfSide("llama3/split"), golden, backend, maxKlNats: 1e-16, minTop1: 1 });
    expect(report).toMatchObject({ verdict: "fail", findings: [{ code: "KL" }], thresholds: { origin: "given" } });
  });

  test("top-1 agreement below its limit fails", async () => {
    const a = hfSide("llama3/split", { rope_parameters: { rope_type: "default", rope_theta: 77 } });
    const report = await runParity({ a, golden, backend, maxKlNats: 1e9, minTop1: 0.999 });
    expect(report).toMatchObject({ verdict: "fail", findings: [{ code: "TOP1" }] });
  });
});

test("saved logits give the metrics again", async () => {
  const saveLogits = join(folder, "logits.safetensors");
  const a = hfSide("qwen3/split", { rope_parameters: { rope_type: "default", rope_theta: 9e5 } });
  const { metrics } = await runParity({ a, golden: fixtureCase("qwen3/split").golden, backend, saveLogits });
  expect(readdirSync(folder)).toEqual(["logits.safetensors"]);
  const [A, B] = [recorded(saveLogits, "logits_a"), recorded(saveLogits, "logits_b")];
  const [T, V] = [A.shape[0]!, A.shape[1]!];
  const logSoftmax = (row: Float64Array) => {
    const lse = Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
    return row.map((x) => x - lse);
  };
  const kl = Array.from({ length: T }, (_, t) => {
    const [q, p] = [A, B].map(({ values }) => logSoftmax(values.slice(t * V, (t + 1) * V)));
    return p!.reduce((sum, lp, v) => sum + Math.exp(lp) * (lp - q![v]!), 0);
  });
  expect(metrics.tokens).toBe(T);
  expect(metrics.klMeanNats / (kl.reduce((sum, x) => sum + x, 0) / T)).toBeCloseTo(1, 9);
  expect(metrics.klMaxNats / Math.max(...kl)).toBeCloseTo(1, 9);
  const difference = A.values.reduce((most, x, i) => Math.max(most, Math.abs(x - B.values[i]!)), 0);
  expect(metrics.maxAbsDiff).toBe(difference);
  await expect(runParity({ a, golden: fixtureCase("qwen3/split").golden, backend, saveLogits })).rejects.toMatchObject({
    code: "TARGET_EXISTS",
  });
});

describe("refused", () => {
  const a = hfSide("llama3/split");
  const { golden } = fixtureCase("llama3/split");
  const ids = (text: string) => {
    const file = join(folder, "ids.json");
    writeFileSync(file, text);
    return { kind: "ids", file } as const;
  };

  test("an id without a row, by its value", async () => {
    await expect(
      runParity({ a: nativeSide("llama3/split"), b: a, input: ids("[1, 262, 263]"), backend }),
    ).rejects.toMatchObject({
      code: "ID_OUT_OF_RANGE",
      exitCode: 3,
      message: "token id 263 at position 2 has no row in the embedding",
    });
  });

  test("a golden of other ids", async () => {
    const file = fixtureCase("qwen3/split").golden;
    const inputs = join(folder, "inputs.safetensors");
    writeFileSync(inputs, onlyIds(file));
    await expect(runParity({ a, golden, input: { kind: "inputs", file: inputs }, backend })).rejects.toMatchObject({
      code: "GOLDEN_IDS_MISMATCH",
      exitCode: 3,
    });
  });

  test("a golden of another vocabulary", async () => {
    await expect(runParity({ a, golden: fixtureCase("qwen3/split").golden, backend })).rejects.toMatchObject({
      code: "GOLDEN_VOCAB_MISMATCH",
      exitCode: 3,
    });
  });

  test("a golden together with ids, or with a second checkpoint, or nothing to compare with", async () => {
    for (const options of [{ a, golden, input: ids("[1]") }, { a, b: a, golden }, { a }]) {
      await expect(runParity({ ...options, backend })).rejects.toMatchObject({ code: "PARITY_USAGE", exitCode: 2 });
    }
  });

  test("two families", async () => {
    await expect(runParity({ a, b: hfSide("qwen3/split"), backend })).rejects.toMatchObject({
      code: "FAMILY_MISMATCH",
    });
  });

  test("a memory limit that cannot be kept, before anything is computed", async () => {
    await expect(runParity({ a, golden, backend, maxRamBytes: 1e6 })).rejects.toMatchObject({
      code: "MAX_RAM_IMPOSSIBLE",
      exitCode: 4,
    });
  });
});

test("a tensor that the table knows but no step reads fails, by name", async () => {
  const hf = hfSide("llama3/split");
  const tied = hfSide("llama3/split", { tie_word_embeddings: true });
  const forgetful = { ...hf, layout: runBy(hf.layout, tied.layout.forward()) };
  const report = await runParity({ a: forgetful, b: forgetful, backend });
  expect(report).toMatchObject({
    verdict: "fail",
    metrics: { klMeanNats: 0 },
    unusedTensors: ["lm_head.weight", "lm_head.weight"],
    cause: { code: "UNUSED_TENSORS" },
  });
});

test("a derived buffer is left alone, with the reason", async () => {
  const key = "model.layers.1.self_attn.rotary_emb.inv_freq";
  const info = { key, dtype: "F32", shape: [5], byteLength: 20 } as const;
  const a = mutated(hfSide("llama3/split"), { [key]: { bytes: new Uint8Array(20), info } });
  const report = await runParity({ a, golden: fixtureCase("llama3/split").golden, backend });
  expect(report).toMatchObject({ verdict: "pass", unusedTensors: [], ignoredTensors: [{ key }] });
});

test("ids beyond the model's context are used, and said to be", async () => {
  const file = join(folder, "long.json");
  writeFileSync(file, JSON.stringify(Array.from({ length: 40 }, (_, t) => t)));
  const [a, b] = [nativeSide, hfSide].map((open) => open("llama3/split", { max_position_embeddings: 32 }));
  const report = await runParity({ a: a!, b, input: { kind: "ids", file }, backend });
  expect(report).toMatchObject({
    verdict: "pass",
    inputs: { kind: "ids", tokens: 40, note: "longer than the model's context of 32 tokens" },
  });
});

test("logits are saved nowhere that does not exist", async () => {
  const saveLogits = join(folder, "none", "logits.safetensors");
  const options = {
    a: hfSide("llama3/split"),
    golden: fixtureCase("llama3/split").golden,
    backend,
    saveLogits,
  } as const;
  await expect(runParity(options)).rejects.toMatchObject({ code: "NOT_FOUND", details: { file: saveLogits } });
});

test("progress ends at all FLOPs, and an abort stops the run", async () => {
  const seen: { done: number; total: number; label: string }[] = [];
  const options = { a: hfSide("llama3/split"), golden: fixtureCase("llama3/split").golden, backend } as const;
  await runParity({ ...options, onProgress: (event) => seen.push(event) });
  const labels = seen.map(({ label }) => label);
  expect(labels.filter((label) => label === "noise floor").length).toBeGreaterThan(0);
  expect(labels.filter((label, i) => i === 0 || label !== labels[i - 1])).toEqual([
    "embed",
    "layers.0.attn",
    "layers.0.ffn",
    "layers.1.attn",
    "layers.1.ffn",
    "norm",
    "logits",
    "noise floor",
  ]);
  expect(seen.at(-1)!.done).toBe(seen.at(-1)!.total);
  expect(seen.every(({ done }, i) => i === 0 || done >= seen[i - 1]!.done)).toBe(true);
  await expect(runParity({ ...options, signal: AbortSignal.abort() })).rejects.toThrow("abort");
});

/** The `input_ids` of a golden as a file of their own. */
function onlyIds(file: string): Uint8Array {
  const golden = openSafetensors(file);
  const ids = bytesOf(golden, "input_ids");
  golden.close();
  const header = `{"input_ids":{"dtype":"I64","shape":[${ids.length / 8}],"data_offsets":[0,${ids.length}]}}`.padEnd(
    88,
  );
  const length = new Uint8Array(new BigUint64Array([BigInt(header.length)]).buffer);
  return Buffer.concat([length, Buffer.from(header), ids]);
}

describe("weights in FP8 that the config declares as bf16", () => {
  const { native, hf } = fixtureCase("deepseek_v3/fp8");

  function models() {
    const declared = join(mkdtempSync(join(folder, "fp8-")), "hf");
    cpSync(hf, declared, { recursive: true });
    const config: JsonObject = JSON.parse(readFileSync(join(hf, "config.json"), "utf8"));
    writeFileSync(join(declared, "config.json"), JSON.stringify({ ...config, dtype: "bfloat16" }));
    return [native, declared].map((path) => openModel(openCheckpoint(path), { adapters, config: declared }));
  }

  test("are not rounded against a trainer's f32, whichever side has them", async () => {
    const [a, b] = models();
    expect(b!.source.tensors.get("model.layers.0.mlp.gate_proj.weight")).toMatchObject({ dtype: "BF16" });
    const passes = { verdict: "pass", metrics: { klMeanNats: 0 } };
    const plain = { dtype: "F32", encoding: null };
    const decoded = { dtype: "F32", encoding: "fp8" };
    expect(await runParity({ a: a!, b: b!, backend })).toMatchObject({ ...passes, a: plain, b: decoded });
    expect(await runParity({ a: b!, b: a!, backend })).toMatchObject({ ...passes, a: decoded, b: plain });
    for (const { checkpoint } of [a!, b!]) checkpoint.close();
  });
});
