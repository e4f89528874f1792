// Each layer on its own input: recorded hidden states of one side, and the other side's layers run from them.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { bytesOf, recalculated } from "../../../src/faults/edit.ts";
import { saveTaps } from "../../../src/parity/forward/save-taps.ts";
import { runParity } from "../../../src/parity/parity.ts";
import type { ParityModel } from "../../../src/parity/side.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { fixtureCase, hfSide, mutated, nativeSide } from "../../helpers/models.ts";

const folder = mkdtempSync(join(tmpdir(), "layers-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Hidden states of the HF side as `--save-taps` writes them, and the input that goes with them. */
async function tapsOf(name: string, tokens = 33) {
  const golden = join(folder, `${name.replaceAll("/", "-")}-${tokens}.safetensors`);
  const { inputs } = fixtureCase(name);
  const input = inputs === null ? undefined : ({ kind: "inputs", file: inputs } as const);
  if (!existsSync(golden)) {
    const random = { kind: "random", tokens } as const;
    await saveTaps({ a: hfSide(name), saveTaps: golden, backend: "cpu", input: input ?? random });
  }
  return { golden, input, backend: "cpu", byLayers: true } as const;
}

/** Rotary variants, mixtures of experts, FP8, MXFP4, a tower whose features enter after layers, a gated delta rule. */
const NAMES = [
  "llama3/rope-scaled",
  "qwen3_moe/untied",
  "llama4/split",
  "deepseek_v3/fp8",
  "gpt_oss/mxfp4",
  "qwen3_vl/tied",
  "qwen3_5_moe/vision",
  "hf_dense/phi-bf16",
];

test.each(NAMES)("%s: layers of the native side from hidden states of the HF side", async (name) => {
  const report = await runParity({ a: nativeSide(name), ...(await tapsOf(name)) });
  const layers = report.taps.map(({ withoutKnown, relativeRms }) => withoutKnown ?? relativeRms);
  // F32 is what hidden states are written in; what rounds cos and sin in another order comes on top.
  expect(layers.length).toBeGreaterThanOrEqual(2);
  expect(Math.max(...layers)).toBeLessThan(3e-7);
  expect(report.verdictWithoutKnown).toBe("pass");
  expect(report.klMeanNatsWithoutKnown ?? report.metrics.klMeanNats).toBeLessThan(1e-13);
  expect(report.checks).toContainEqual(
    expect.objectContaining({ name: "layers run one after the other", status: "not checked" }),
  );
});

const NAME = "qwen3/split";
const noisy = (side: ParityModel, key: string) => ({
  [key]: { bytes: recalculated(side.source, key, (x, i) => x + 0.05 * Math.sin(i)) },
});

test("every layer that is wrong is named, and none that only inherits", async () => {
  const good = hfSide(NAME);
  const faults = {
    ...noisy(good, "model.layers.0.mlp.down_proj.weight"),
    ...noisy(good, "model.layers.2.self_attn.o_proj.weight"),
  };
  const a = mutated(good, faults);
  const options = await tapsOf(NAME);
  const report = await runParity({ a, ...options });
  expect(report.findings.map(({ code }) => code)).toEqual(["LAYERS"]);
  expect(report.findings[0]!.message).toMatch(/: layers\.0\.ffn by [^,]+, layers\.2\.ffn by [^,]+$/);
  expect(report.taps[1]!.relativeRms).toBeLessThan(1e-7);
  expect(report.firstDivergence).toMatchObject({ tap: "layers.0.ffn", inherited: 0 });
  expect(report.nextSteps[0]).toMatch(/without --by layers/);
  const whole = await runParity({ a, ...options, byLayers: false });
  expect(whole.taps[1]!.relativeRms).toBeGreaterThan(1e-3);
});

test("a wrong head shows in the logits, a wrong embedding in the first layer", async () => {
  const good = hfSide(NAME);
  const options = await tapsOf(NAME);
  const head = await runParity({ a: mutated(good, noisy(good, "lm_head.weight")), ...options });
  expect(head.findings.map(({ code }) => code)).toEqual(["KL"]);
  const embedding = await runParity({ a: mutated(good, noisy(good, "model.embed_tokens.weight")), ...options });
  expect(embedding.findings[0]).toMatchObject({
    code: "LAYERS",
    message: expect.stringMatching(/: layers\.0\.ffn by/),
  });
  expect(embedding.findings).toHaveLength(1);
});

test("layers between those that were recorded run one after the other", async () => {
  const good = hfSide(NAME);
  const few = join(FIXTURES, NAME, "golden-taps.safetensors");
  const a = mutated(good, {
    "model.layers.1.self_attn.q_proj.weight": { bytes: bytesOf(good.source, "model.layers.0.self_attn.q_proj.weight") },
  });
  const report = await runParity({ a, golden: few, backend: "cpu", byLayers: true });
  expect(report.findings[0]!.message).toMatch(/: layers\.1\.ffn by [^,]+$/);
});

test("what was not recorded cannot be begun with", async () => {
  const { golden } = fixtureCase(NAME);
  await expect(runParity({ a: hfSide(NAME), golden, backend: "cpu", byLayers: true })).rejects.toMatchObject({
    code: "GOLDEN_WITHOUT_TAPS",
  });
  await expect(runParity({ a: hfSide(NAME), b: nativeSide(NAME), byLayers: true })).rejects.toMatchObject({
    code: "PARITY_USAGE",
    details: { help: expect.stringContaining("--save-taps") },
  });
  const saveTo = join(folder, "twice.safetensors");
  const several = [
    { kind: "random", tokens: 4 },
    { kind: "random", tokens: 5 },
  ] as const;
  await expect(saveTaps({ a: hfSide(NAME), saveTaps: saveTo, backend: "cpu", input: several })).rejects.toMatchObject({
    code: "SAVE_TAPS_USAGE",
  });
  expect(existsSync(saveTo)).toBe(false);
});
