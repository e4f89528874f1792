// Faults that Kimi's graphs have to show: torchtitan's weights against HF's with one thing wrong.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { kimiK27 } from "../../../adapters/kimi_k2_7/index.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import { toHalves } from "../../../src/faults/kinds/axes.ts";
import { runParity } from "../../../src/parity/parity.ts";
import { judged } from "../../helpers/judged.ts";
import { bytesOf, fixtureCase, hfSide, mutated, nativeSide } from "../../helpers/models.ts";
import { inputsWith, rearranged } from "../../helpers/vision.ts";

/** Blocks of two heads of 16 channels, 3 · 4 · 4 values a patch, a table of 6 × 6 positions. */
const NAME = "kimi_k2_7/images";
const BLOCK = "vision_tower.encoder.blocks";
const backend = "cpu";
const json: Record<"text_config" | "vision_config", JsonObject> = JSON.parse(
  readFileSync(`${fixtureCase(NAME).hf}/config.json`, "utf8"),
);
const text = (fields: JsonObject) => ({ text_config: { ...json.text_config, ...fields } });
/** With it the norms of the latents are alike on both sides. */
const EPS = text({ rms_norm_eps: 1e-6 });
const hf = hfSide(NAME, EPS);
const images = () =>
  inputsWith({
    grids: [
      [1, 4, 6],
      [1, 6, 6],
      [1, 10, 2],
    ],
    patchDim: 48,
    imageToken: 7,
    textIds: [1, 20, 3, 120, 55],
  });

const compare = (b: typeof hf) =>
  runParity({ a: nativeSide(NAME, EPS), b, backend, input: images(), maxKlNats: 1e-13, localise: true });
const fault = (key: string, parts: number, order: (part: number) => number) =>
  mutated(hf, { [key]: rearranged(hf.checkpoint, key, parts, order) });

test("both sides agree on images that are larger, smaller and as large as the table of positions", async () => {
  expect(await compare(hf)).toMatchObject({ verdict: "pass", knownDifferences: [], firstDivergence: null });
});

test("the eps of the latents' norms is a difference of upstream", async () => {
  const report = await runParity({ a: nativeSide(NAME), b: hfSide(NAME), backend, input: images(), maxKlNats: 1e-13 });
  expect(report).toMatchObject({ verdict: "fail", verdictWithoutKnown: "pass", cause: { code: "MLA_NORM_EPS" } });
});

describe("a fault in the weights fails where it is", () => {
  test("the position table turned", async () => {
    const b = fault("vision_tower.patch_embed.pos_emb.weight", 36, (place) => 6 * (place % 6) + Math.floor(place / 6));
    expect(await compare(b)).toMatchObject({ verdict: "fail", firstDivergence: { tap: "vision.embed" } });
  });

  test("queries and keys that turn with the row where the column turns", async () => {
    const b = fault(`${BLOCK}.0.wqkv.weight`, 96, (row) => (row < 64 ? row ^ 2 : row));
    expect(await compare(b)).toMatchObject({ verdict: "fail", firstDivergence: { tap: "vision.0" } });
  });

  test("queries and keys in halves, as transformers turns them after loading", async () => {
    const b = fault(`${BLOCK}.1.wqkv.weight`, 96, (row) => (row < 64 ? toHalves(16)(row) : row));
    expect(await compare(b)).toMatchObject({ verdict: "fail", firstDivergence: { tap: "vision.1" } });
  });

  test("squares of patches column by column", async () => {
    const order = [0, 2, 1, 3];
    const b = fault("mm_projector.proj.0.weight", 128 * 4, (part) => part - (part % 4) + order[part % 4]!);
    expect(await compare(b)).toMatchObject({ verdict: "fail", firstDivergence: { tap: "vision.merged" } });
  });

  test("a bias of the choice of experts that is lost", async () => {
    const key = "language_model.model.layers.1.mlp.gate.e_score_correction_bias";
    const b = mutated(hf, { [key]: { bytes: bytesOf(hf.checkpoint, key).fill(0) } });
    expect(await compare(b)).toMatchObject({ verdict: "fail", firstDivergence: { tap: "layers.1.ffn" } });
  });
});

describe("configs", () => {
  const { golden, inputs } = fixtureCase(NAME);
  const rope = { rope_type: "yarn", rope_theta: 50_000, factor: 8, original_max_position_embeddings: 64 };

  test.each<[string, JsonObject]>([
    ["weights of experts not scaled", text({ routed_scaling_factor: 1 })],
    [
      "another base of the rotation",
      text({ rope_parameters: { ...rope, mscale: 1, mscale_all_dim: 1, rope_theta: 1e4 } }),
    ],
    ["another scale of the softmax", text({ rope_parameters: { ...rope, mscale: 1, mscale_all_dim: 0.5 } })],
  ])("%s fails against transformers' logits", async (_name, change) => {
    const input = { kind: "inputs", file: inputs ?? "" } as const;
    const report = await judged({ a: hfSide(NAME, change), golden, input });
    expect(report).toMatchObject({ verdict: "fail", findings: [{ code: "KL" }] });
  });

  test("mscale and mscale_all_dim that differ are a difference of upstream", async () => {
    const change = text({ rope_parameters: { ...rope, mscale: 1, mscale_all_dim: 0.5 } });
    const [a, b] = [nativeSide(NAME, change), hfSide(NAME, change)];
    const report = await runParity({ a, b, backend, input: images(), maxKlNats: 1e-13 });
    expect(report.knownDifferences.map(({ code }) => code)).toEqual(["YARN_MSCALE", "MLA_NORM_EPS"]);
    expect(report).toMatchObject({ verdict: "fail", verdictWithoutKnown: "pass" });
  });

  test("groups of experts are chosen alike on both sides", async () => {
    const change = text({ n_group: 4, topk_group: 2 });
    const [a, b] = [nativeSide(NAME, change), hfSide(NAME, change)];
    const grouped = await runParity({ a, b, backend, input: images(), maxKlNats: 1e-13 });
    expect(grouped).toMatchObject({ verdictWithoutKnown: "pass", routing: { flipped: 0 } });
    const ungrouped = await runParity({ a, b: hfSide(NAME), backend, input: images() });
    expect(ungrouped.metrics.klMeanNats).toBeGreaterThan(1e-3);
  });

  test("a tower that is not square has no graph", () => {
    const open = (fields: JsonObject) =>
      kimiK27.open({ ...json, vision_config: { ...json.vision_config, ...fields } }, "config.json");
    const none = expect.objectContaining({ code: "NO_GRAPH" });
    expect(() => open({ pos_emb_width: 8 }).hf.forward()).toThrow(none);
    expect(() => open({ pos_emb_width: 8 }).layouts[0].forward()).not.toThrow();
    expect(() => open({ merge_kernel_size: [2, 1] }).layouts[0].forward()).toThrow(none);
  });
});
