// Faults that Muse Glimmer's graphs have to show: torchtitan's weights against HF's with one thing wrong.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { museGlimmer } from "../../../adapters/muse_glimmer/index.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import type { Upstream } from "../../../src/family/upstream.ts";
import { toPairs } from "../../../src/faults/kinds/axes.ts";
import { openCheckpoint } from "../../../src/model/open.ts";
import { runParity } from "../../../src/parity/parity.ts";
import { judged } from "../../helpers/judged.ts";
import { layoutOf } from "../../helpers/layouts.ts";
import { bytesOf, fixtureCase, hfSide, modelOf, mutated, nativeSide } from "../../helpers/models.ts";
import { inputsWith, rearranged } from "../../helpers/vision.ts";

/** Blocks of two heads of 12 channels, 2 · 3 · 4 · 4 values a patch, a table of 4 × 4 positions, windows of the same. */
const NAME = "muse_glimmer/images-bf16";
const TOWER = "model.vision_tower";
const hf = hfSide(NAME);
const backend = "cpu";
const imagesOf = (...grids: (readonly [number, number, number])[]) =>
  inputsWith({ grids, patchDim: 96, imageToken: 7, textIds: [1, 20, 3, 120, 55] });
const square = () => imagesOf([1, 4, 4], [1, 6, 6]);

const compare = (b: typeof hf, input = square()) =>
  runParity({ a: nativeSide(NAME), b, backend, input, maxKlNats: 1e-12, localise: true });
const fault = (key: string, parts: number, order: (part: number) => number) =>
  mutated(hf, { [key]: rearranged(hf.checkpoint, key, parts, order) });

test("square images do not show torchtitan's position table, oblong ones do", async () => {
  expect(await compare(hf)).toMatchObject({ verdict: "pass", firstDivergence: null, knownDifferences: [] });
  expect(await compare(hf, imagesOf([1, 4, 6]))).toMatchObject({
    verdict: "fail",
    verdictWithoutKnown: "pass",
    cause: { code: "OBLONG_POSITION_TABLE" },
    firstDivergence: { tap: "vision.embed" },
  });
});

describe("versions of upstream disagree on the table of oblong images", () => {
  const oblong = () => imagesOf([1, 4, 6]);
  const at = (upstream: Partial<Upstream>) =>
    runParity({ a: nativeSide(NAME), b: hf, backend, input: oblong(), upstream });

  test("transformers 5.24 reads it as torchtitan 0.3.0 does", async () => {
    const report = await at({ transformers: "5.24" });
    expect(report).toMatchObject({ verdict: "pass", knownDifferences: [] });
    expect(report.metrics.klMeanNats).toBeLessThan(1e-12);
    expect(report.upstream.changes.map(({ does }) => does)).toEqual([
      "reads the tower's table of positions at (w, h)",
      "reads the tower's table of positions at (w, h)",
    ]);
  });

  test("transformers 5.23 reads it as torchtitan's main does", async () => {
    expect(await at({ torchtitan: "main" })).toMatchObject({ verdict: "pass", knownDifferences: [] });
  });

  test("transformers 5.24 does not read it as torchtitan's main does", async () => {
    expect(await at({ transformers: "5.24.0", torchtitan: "2026-08-21" })).toMatchObject({
      verdict: "fail",
      verdictWithoutKnown: "pass",
      cause: { code: "OBLONG_POSITION_TABLE" },
    });
  });

  test("a golden of another version than the config's is named", async () => {
    const { golden, inputs } = fixtureCase(NAME);
    const report = await runParity({
      a: hf,
      golden,
      backend,
      input: { kind: "inputs", file: inputs ?? "" },
      upstream: { transformers: "5.24" },
    });
    expect(report).toMatchObject({
      verdict: "fail",
      cause: { code: "POSITION_TABLE_IN_TRANSFORMERS", fix: expect.stringContaining("--upstream transformers=5.23") },
    });
  });
});

describe("a fault in the weights fails where it is", () => {
  test("the position table turned", async () => {
    const key = `${TOWER}.patch_embedder.position_embedding_table.weight`;
    const b = fault(key, 16, (place) => 4 * (place % 4) + (place >> 2));
    expect(await compare(b)).toMatchObject({ verdict: "fail", firstDivergence: { tap: "vision.embed" } });
  });

  test("patches in the order of torchtitan's collator: colours before frames", async () => {
    const key = `${TOWER}.patch_embedder.patch_embedding.weight`;
    const order = [0, 3, 1, 4, 2, 5];
    const b = fault(key, 24 * 6, (part) => part - (part % 6) + order[part % 6]!);
    expect(await compare(b)).toMatchObject({ verdict: "fail", firstDivergence: { tap: "vision.embed" } });
  });

  test("queries of one block of the tower not permuted", async () => {
    const b = fault(`${TOWER}.layers.1.attn.q_proj.weight`, 24, toPairs(12));
    expect(await compare(b)).toMatchObject({ verdict: "fail", firstDivergence: { tap: "vision.1" } });
  });

  test("merged patches one behind another instead of channel by channel", async () => {
    const key = "model.vision_adapter.fc1.weight";
    const columns = (part: number) => part - (part % 96) + 4 * ((part % 96) % 24) + Math.floor((part % 96) / 24);
    const b = fault(key, 22 * 96, columns);
    expect(await compare(b)).toMatchObject({ verdict: "fail", firstDivergence: { tap: "vision.merged" } });
  });

  test("a gate of zeros", async () => {
    const key = "model.language_model.layers.2.self_attn.gate_proj.weight";
    const b = mutated(hf, { [key]: { bytes: bytesOf(hf.checkpoint, key).fill(0) } });
    expect(await compare(b)).toMatchObject({ verdict: "fail", firstDivergence: { tap: "layers.2.attn" } });
  });

  test("a norm stored as its whole weight instead of what it adds to 1", async () => {
    const key = "model.language_model.layers.3.post_feedforward_layernorm.weight";
    const b = mutated(hf, { [key]: { bytes: bytesOf(hf.checkpoint, "model.language_model.norm.weight") } });
    expect(await compare(b)).toMatchObject({ verdict: "fail", firstDivergence: { tap: "layers.3.ffn" } });
  });
});

describe("a config of other mathematics fails against transformers' logits", () => {
  const { golden, inputs, hf: folder } = fixtureCase(NAME);
  const json: Record<"text_config" | "vision_config", JsonObject> = JSON.parse(
    readFileSync(`${folder}/config.json`, "utf8"),
  );
  const against = (change: JsonObject) =>
    judged({ a: hfSide(NAME, change), golden, input: { kind: "inputs", file: inputs ?? "" } });
  const text = (fields: JsonObject) => ({ text_config: { ...json.text_config, ...fields } });
  const vision = (fields: JsonObject) => ({ vision_config: { ...json.vision_config, ...fields } });

  test.each<[string, JsonObject]>([
    ["every layer rotated", text({ layer_rope_theta: Array(6).fill(500_000) })],
    ["a window of one token less", text({ sliding_window: 36 })],
    ["every layer with a window", text({ layer_types: Array(6).fill("sliding_attention") })],
    ["queries not scaled", text({ qk_scale_factor: 1 })],
    ["another cap of logits", text({ final_logit_softcapping: 19 })],
    ["logits not scaled", text({ output_multiplier: 1 })],
    ["every block of the tower without windows", vision({ layer_types: Array(5).fill("full_attention") })],
    ["another base of the tower's rotation", vision({ rope_parameters: { rope_type: "axial", rope_theta: 100 } })],
  ])("%s", async (_name, change) => {
    expect(await against(change)).toMatchObject({ verdict: "fail", findings: [{ code: "KL" }] });
  });

  test("transformers has no tables of positions that are not square", () => {
    const family = museGlimmer.open({ ...json, ...vision({ pos_emb_width: 8 }) }, "config.json");
    expect(() => layoutOf(family, "hf").forward()).toThrow(expect.objectContaining({ code: "NO_GRAPH" }));
    expect(() => layoutOf(family, "torchtitan").forward()).not.toThrow();
  });
});

test("a model of text alone, as both sides have it", async () => {
  const { textNatives, textHfs, hf: folder } = fixtureCase("muse_glimmer/text");
  const json: JsonObject = JSON.parse(readFileSync(`${folder}/config.json`, "utf8"));
  const family = museGlimmer.open({ ...json, vision_config: null }, "config.json");
  const a = modelOf(family, family.layouts[0], openCheckpoint(textNatives["native-text"]!));
  const b = modelOf(family, family.hf, openCheckpoint(textHfs["hf-text"]!));
  const report = await runParity({ a, b, backend, maxKlNats: 1e-13 });
  expect(report).toMatchObject({ verdict: "pass", unusedTensors: [], inputs: { tokens: 512 } });
  expect(report.inputs.images).toBeUndefined();
});
