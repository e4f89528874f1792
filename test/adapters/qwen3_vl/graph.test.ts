// Faults that Qwen3-VL's graphs have to show: torchtitan's weights against HF's, and graphs against goldens, with one thing
// wrong.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { qwen3Vl, qwen3VlMoe } from "../../../adapters/qwen3_vl/index.ts";
import type { Forward, Node, Ops, Weights } from "../../../numerics/graph.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import { openCheckpoint } from "../../../src/model/open.ts";
import { runParity } from "../../../src/parity/parity.ts";
import { readState, type State, type Stored, writeSafetensors } from "../../helpers/checkpoints.ts";
import { converted } from "../../helpers/converted.ts";
import { judged } from "../../helpers/judged.ts";
import { compiledTable, differencesOf, layoutOf, nativeNames, runBy } from "../../helpers/layouts.ts";
import {
  bytesOf,
  fixtureCase,
  hfSide,
  modelOf,
  mutated,
  nativeSide,
  openHf,
  type TestModel,
  withCheckpoint,
} from "../../helpers/models.ts";
import { scratch } from "../../helpers/scratch.ts";
import { randomTensor } from "../../helpers/tensors.ts";
import { inputsWith, rearranged } from "../../helpers/vision.ts";
import { tensorsOf } from "../headers.ts";

/**
 * Towers of two heads of 12 channels and a table of 7 × 7 positions, 2 · 3 · 4 · 4 values a patch. DENSE: three layers and
 * blocks, DeepStack behind blocks 0 and 2. MOE: two of each, DeepStack behind block 0, 12 experts.
 */
const [DENSE, MOE] = ["qwen3_vl/tied", "qwen3_vl_moe/bf16"];
const VISUAL = "model.visual";
const TEXT = "model.language_model";
const backend = "cpu";

const imagesOf = (...grids: (readonly [number, number, number])[]) =>
  inputsWith({ grids, patchDim: 96, imageToken: 7, textIds: [1, 20, 3, 120, 55] });
const images = () => imagesOf([1, 4, 6], [1, 2, 2], [1, 8, 10]);
const inputsOf = (state: State) =>
  ({ kind: "inputs", file: join(writeSafetensors(scratch(), state), "model.safetensors") }) as const;
const given = (name: string) => ({ kind: "inputs", file: fixtureCase(name).inputs ?? "" }) as const;
const configOf = (name: string): JsonObject & Record<"text_config" | "vision_config", JsonObject> =>
  JSON.parse(readFileSync(`${fixtureCase(name).hf}/config.json`, "utf8"));

/** torchtitan's side with all that upstream is known to do differently undone, so that it hides no fault. */
function exact(side: TestModel): TestModel {
  const { layout } = side;
  const undone = differencesOf(layout).at(-1)!.undone;
  return { ...side, layout: runBy(layout, undone) };
}

const compare = (a: TestModel, b: TestModel, input = images()) =>
  runParity({ a: exact(a), b, backend, input, maxKlNats: 1e-13, localise: true });

describe.each([DENSE, MOE])("%s", (name) => {
  test("both sides agree on images that are larger and smaller than the table of positions", async () => {
    const report = await compare(nativeSide(name!), hfSide(name!));
    expect(report).toMatchObject({ verdict: "pass", firstDivergence: null, unusedTensors: [], unexercisedTensors: [] });
  });

  test("and on text alone, whose positions are the same along every axis", async () => {
    const ids = Array.from({ length: 300 }, (_, t) => 11 + ((t * t) % 120));
    const input = inputsOf(new Map([["input_ids", integers([300], ids)]]));
    const report = await compare(nativeSide(name!), hfSide(name!), input);
    expect(report).toMatchObject({ verdict: "pass", firstDivergence: null, unusedTensors: [] });
    expect(report.unexercisedTensors.every((key) => /^(model\.visual|vision_encoder)\./.test(key))).toBe(true);
  });

  test("the mergers' GELU is a difference of upstream, and shows behind the first of them", async () => {
    const report = await runParity({ a: nativeSide(name!), b: hfSide(name!), backend, input: given(name!) });
    expect(report).toMatchObject({
      verdict: "fail",
      verdictWithoutKnown: "pass",
      cause: { code: "VISION_MERGER_GELU" },
      firstDivergence: { tap: "vision.0.deepstack" },
    });
    expect(report.metrics.klMeanNats).toBeGreaterThan(1e-8);
    expect(report.metrics.klMeanNats).toBeLessThan(1e-6);
  });

  test.each(["hf", "native"])("%s: positions are derived as they were given, and count", async (side) => {
    const { golden, nativeGolden, inputs } = fixtureCase(name!);
    const a = side === "hf" ? hfSide(name!) : nativeSide(name!);
    const truth = side === "hf" ? golden : (nativeGolden ?? "");
    const state = readState(inputs ?? "");
    const positions = state.get("position_ids")!;
    const against = async (changed: State) =>
      (await judged({ a, golden: truth, input: inputsOf(changed) })).metrics.klMeanNats;
    const turned = [...new BigInt64Array(positions.bytes.slice().buffer)].map(Number);
    for (let t = 0; t < turned.length; t += 3) [turned[t + 1], turned[t + 2]] = [turned[t + 2]!, turned[t + 1]!];
    expect(await against(new Map([...state].filter(([key]) => key !== "position_ids")))).toBeLessThan(1e-13);
    expect(await against(new Map([...state, ["position_ids", integers(positions.shape, turned)]]))).toBeGreaterThan(
      1e-6,
    );
  });
});

const integers = (shape: readonly number[], values: readonly number[]): Stored => ({
  dtype: "I64",
  shape,
  bytes: new Uint8Array(BigInt64Array.from(values, BigInt).buffer),
});

describe.each(
  [qwen3Vl, qwen3VlMoe].flatMap((adapter) => nativeNames(adapter).map((layout) => [adapter.family, layout])),
)("%s as %s", (family, layout) => {
  test("the graph reads the keys of the layout", async () => {
    const name = family === "qwen3_vl" ? DENSE! : MOE!;
    const folder = join(scratch(), "native");
    await converted(fixtureCase(name).hf, folder, { to: layout! });
    const checkpoint = openCheckpoint(folder);
    const a = nativeSide(name);
    const named = layoutOf(a.family, layout!);
    const report = await compare(modelOf(a.family, named, checkpoint), hfSide(name), given(name));
    expect(report).toMatchObject({ verdict: "pass", firstDivergence: null, unusedTensors: [] });
  });
});

describe("a fault in the weights fails where it is", () => {
  const hf = hfSide(DENSE!);
  const fault = (key: string, parts: number, order: (part: number) => number) =>
    mutated(hf, { [key]: rearranged(hf.checkpoint, key, parts, order) });
  const shows = async (b: TestModel, tap: string) =>
    expect(await compare(nativeSide(DENSE!), b)).toMatchObject({ verdict: "fail", firstDivergence: { tap } });

  test("the position table turned", () =>
    shows(
      fault(`${VISUAL}.pos_embed.weight`, 49, (place) => 7 * (place % 7) + Math.floor(place / 7)),
      "vision.embed",
    ));

  test("patches with frames before colours", () =>
    shows(
      fault(`${VISUAL}.patch_embed.proj.weight`, 24 * 6, (part) => part - (part % 6) + [0, 2, 4, 1, 3, 5][part % 6]!),
      "vision.embed",
    ));

  test("queries and keys that turn with the column where the row turns", () => {
    const turned = (row: number) => row - (row % 6) + ((row + 3) % 6);
    return shows(
      fault(`${VISUAL}.blocks.1.attn.qkv.weight`, 72, (row) => (row < 48 ? turned(row) : row)),
      "vision.1",
    );
  });

  test("queries and keys changed places", () =>
    shows(
      fault(`${VISUAL}.blocks.2.attn.qkv.bias`, 3, (part) => [1, 0, 2][part]!),
      "vision.2",
    ));

  test("DeepStack's mergers changed places", () => {
    const list = `${VISUAL}.deepstack_merger_list`;
    const names = ["norm", "linear_fc1", "linear_fc2"].flatMap((module) => [`${module}.weight`, `${module}.bias`]);
    const swapped = names.flatMap((name) => [
      [`${list}.0.${name}`, { bytes: bytesOf(hf.checkpoint, `${list}.1.${name}`) }],
      [`${list}.1.${name}`, { bytes: bytesOf(hf.checkpoint, `${list}.0.${name}`) }],
    ]);
    return shows(mutated(hf, Object.fromEntries(swapped)), "vision.0.deepstack");
  });

  test("squares of patches column by column", () =>
    shows(
      fault(`${VISUAL}.merger.linear_fc1.weight`, 96 * 4, (part) => part - (part % 4) + [0, 2, 1, 3][part % 4]!),
      "vision.merged",
    ));

  test("a norm of the queries with its halves changed places", () =>
    shows(
      fault(`${TEXT}.layers.1.self_attn.q_norm.weight`, 2, (half) => 1 - half),
      "layers.1.attn",
    ));
});

describe("experts", () => {
  const hf = hfSide(MOE!);
  const { hfs } = fixtureCase(MOE!);
  const experts = `${TEXT}.layers.1.mlp.experts`;

  test("in the order that transformers saves are the same model", async () => {
    const b = withCheckpoint(hf, openHf(hfs["hf-saved"]!));
    expect(b.checkpoint.tensors.get(`${experts}.gate_up_proj`)!.shape).toEqual([12, 36, 30]);
    const report = await runParity({ a: hf, b, backend, input: images(), maxKlNats: 1e-15 });
    expect(report).toMatchObject({ verdict: "pass", routing: { flipped: 0 } });
    expect(await compare(nativeSide(MOE!), b)).toMatchObject({ verdict: "pass", firstDivergence: null });
  });

  test.each(["hf", "hf-saved"])("%s: a head that its config ties shows in either order", async (folder) => {
    const tied = hfSide(MOE!, { tie_word_embeddings: true });
    const b = withCheckpoint(tied, openHf(hfs[folder]!));
    const { findings, cause } = await runParity({ a: tied, b, backend, input: images() });
    const broken = { code: "TIE_BROKEN", message: expect.stringContaining('"lm_head.weight"') };
    expect(findings).toEqual([broken, broken]);
    expect(cause).toMatchObject({
      code: "STALE_TIED_HEAD",
      tensors: ["lm_head.weight", `${TEXT}.embed_tokens.weight`],
    });
  });

  test("whose gate and up changed places fail", async () => {
    const key = `${experts}.gate_up_proj`;
    const b = mutated(hf, { [key]: rearranged(hf.checkpoint, key, 12 * 30 * 2, (part) => part ^ 1) });
    const report = await compare(nativeSide(MOE!), b);
    expect(report).toMatchObject({ verdict: "fail", firstDivergence: { tap: "layers.1.ffn" } });
  });

  test("of one layer that changed places fail", async () => {
    const key = `${experts}.down_proj`;
    const b = mutated(hf, { [key]: rearranged(hf.checkpoint, key, 12, (e) => (e + 1) % 12) });
    const report = await compare(nativeSide(MOE!), b);
    expect(report).toMatchObject({ verdict: "fail", firstDivergence: { tap: "layers.1.ffn" } });
  });

  /** Where 2F = D the one tensor is square, where F = D the other. */
  test.each([
    [36, 18],
    [18, 18],
  ])("%i wide with a feed-forward of %i are told apart by the tensor that is not square", async (dim, ffn) => {
    const json = configOf(MOE!);
    const family = qwen3VlMoe.open(
      {
        ...json,
        text_config: { ...json.text_config, hidden_size: dim, moe_intermediate_size: ffn },
        vision_config: { ...json.vision_config, out_hidden_size: dim },
      },
      "config.json",
    );
    const table = compiledTable(family, "torchtitan");
    const hub: State = new Map(
      [...tensorsOf(table, "hf")].map(([key, { shape }], i) => {
        const { values } = randomTensor(shape, i);
        const scale = shape.length === 1 ? 1 : shape.at(-1)! ** -0.5;
        return [key, { dtype: "F32", shape, bytes: bytesOfF32(values.map((x) => x * scale)) }];
      }),
    );
    const saved: State = new Map(
      [...hub].map(([key, stored]) => [key, key.includes(".experts.") ? transposed(stored) : stored]),
    );
    const [a, b] = [hub, saved].map((state) => {
      return modelOf(family, family.hf, openCheckpoint(writeSafetensors(scratch(), state)));
    });
    const report = await runParity({ a: a!, b: b!, backend, input: images(), maxKlNats: 1e-15 });
    expect(report).toMatchObject({ verdict: "pass", routing: { flipped: 0 } });
  });
});

const bytesOfF32 = (values: ArrayLike<number>): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);

/** [E, I, O] → [E, O, I]. */
function transposed({ dtype, shape, bytes }: Stored): Stored {
  const [E, I, O] = [shape[0]!, shape[1]!, shape[2]!];
  const values = new Float32Array(bytes.buffer);
  const at = (n: number) => {
    const [e, o, i] = [Math.floor(n / (I * O)), Math.floor(n / I) % O, n % I];
    return values[e * I * O + i * O + o]!;
  };
  return { dtype, shape: [E, O, I], bytes: bytesOfF32(values.map((_, n) => at(n))) };
}

describe("a config of other mathematics fails against transformers' logits", () => {
  const { golden } = fixtureCase(DENSE!);
  const json = configOf(DENSE!);
  const text = (fields: JsonObject) => ({ text_config: { ...json.text_config, ...fields } });
  const vision = (fields: JsonObject) => ({ vision_config: { ...json.vision_config, ...fields } });
  const rope = { rope_type: "default", rope_theta: 1_000_000, mrope_section: [2, 2, 2] };

  test.each<[string, JsonObject]>([
    ["rows without frequencies", text({ rope_parameters: { ...rope, mrope_section: [4, 0, 2] } })],
    ["columns without frequencies", text({ rope_parameters: { ...rope, mrope_section: [4, 2, 0] } })],
    ["another base", text({ rope_parameters: { ...rope, rope_theta: 10_000 } })],
    ["DeepStack behind the next block", vision({ deepstack_visual_indexes: [1, 2] })],
    ["DeepStack in another order", vision({ deepstack_visual_indexes: [2, 0] })],
    ["another base of the tower's rotation", vision({ rope_parameters: { rope_type: "axial", rope_theta: 100 } })],
  ])("%s", async (_name, change) => {
    const report = await judged({ a: hfSide(DENSE!, change), golden, input: given(DENSE!) });
    expect(report).toMatchObject({ verdict: "fail", findings: [{ code: "KL" }] });
  });
});

/** With the norm of either kind of merger on the other side of the join of a token's patches. */
function normsMoved(forward: Forward, merger: "merger" | "deepstack_merger_list.0"): Forward {
  return <N extends Node>(op: Ops<N>, weight: Weights<N>, input: Parameters<Forward>[2]) => {
    const keys = new Map<N, string>();
    const noted: Weights<N> = (key) => {
      const node = weight(key);
      keys.set(node, key);
      return node;
    };
    const layerNorm: Ops<N>["layerNorm"] = (x, w, b, eps) => {
      if (!keys.get(w)?.endsWith(`.${merger}.norm.weight`)) return op.layerNorm(x, w, b, eps);
      const [rows, size] = [x.shape[0]!, x.shape[1]!];
      const other = size === 24 ? 96 : 24;
      const [ones, zeros] = [1, 0].map((value) => op.constant(Array<number>(other).fill(value), [other]));
      const normed = op.layerNorm(op.reshape(x, [(rows * size) / other, other]), ones!, zeros!, eps);
      return op.add(op.mul(op.reshape(normed, [rows, size]), w), b);
    };
    return forward(Object.assign(Object.create(op), { layerNorm }), noted, input);
  };
}

describe.each(["merger", "deepstack_merger_list.0"] as const)(
  "the norm of %s on the other side of the join",
  (merger) => {
    const { golden, nativeGolden } = fixtureCase(DENSE!);
    test.each<[string, TestModel, string]>([
      ["hf", hfSide(DENSE!), golden],
      ["native", nativeSide(DENSE!), nativeGolden ?? ""],
    ])("%s: fails", async (_side, right, truth) => {
      const forward = normsMoved(right.layout.forward(), merger);
      const layout = runBy(right.layout, forward);
      const report = await judged({ a: { ...right, layout }, golden: truth, input: given(DENSE!) });
      expect(report).toMatchObject({ verdict: "fail", findings: [{ code: "KL" }] });
    });
  },
);

describe("no graph where upstream has none", () => {
  const open = (inVision: JsonObject, inText: JsonObject = {}) => {
    const json = configOf(DENSE!);
    const [text_config, vision_config] = [
      { ...json.text_config, ...inText },
      { ...json.vision_config, ...inVision },
    ];
    return qwen3Vl.open({ ...json, text_config, vision_config }, "config.json");
  };
  const section = { mrope_section: [2, 2, 2] };
  const yarn = { ...section, rope_type: "yarn", rope_theta: 10_000, factor: 4, original_max_position_embeddings: 512 };
  const short = { ...yarn, original_max_position_embeddings: 128 };
  const linear = { ...section, rope_type: "linear", factor: 2 };
  const none = (code: string) => expect.objectContaining({ code });

  test("a head of the tower that rows and columns cannot share", () => {
    for (const layout of ["hf", "torchtitan"])
      expect(() => layoutOf(open({ num_heads: 4 }), layout).forward()).toThrow(none("NO_GRAPH"));
  });

  test.each<[string, JsonObject, JsonObject, string]>([
    ["a position table that is not square", { num_position_embeddings: 50 }, {}, "NO_GRAPH"],
    ["sections of more frequencies than a head has", {}, { rope_parameters: { mrope_section: [0, 3, 3] } }, "NO_GRAPH"],
    ["linear scaling", {}, { rope_parameters: linear }, "ROPE_NOT_IN_TORCHTITAN"],
    ["YaRN of so short a context", {}, { rope_parameters: short }, "ROPE_NOT_IN_TORCHTITAN"],
  ])("%s: in torchtitan alone", (_name, inVision, inText, code) => {
    const family = open(inVision, inText);
    expect(() => layoutOf(family, "torchtitan").forward()).toThrow(none(code));
    expect(() => layoutOf(family, "hf").forward()).not.toThrow();
  });

  test("YaRN's cutoffs are whole channels in transformers alone, and its factor what a config says", async () => {
    const rope_parameters = { ...yarn, attention_factor: 1 };
    const change = { text_config: { ...configOf(DENSE!).text_config, rope_parameters } };
    const [a, b] = [nativeSide(DENSE!, change), hfSide(DENSE!, change)];
    const report = await runParity({ a, b, backend, input: images(), maxKlNats: 1e-13 });
    const codes = ["YARN_ATTENTION_FACTOR", "YARN_TRUNCATE", "VISION_MERGER_GELU"];
    expect(report.knownDifferences.map(({ code }) => code)).toEqual(codes);
    expect(report).toMatchObject({ verdict: "fail", verdictWithoutKnown: "pass" });
  });
});

describe("images that touch", () => {
  const touching = (state: Readonly<Record<string, Stored>> = {}) => {
    const { values } = randomTensor([48, 96], 3);
    const ids = [1, 2, ...Array<number>(12).fill(7), 3];
    return inputsOf(
      new Map([
        ["input_ids", integers([15], ids)],
        ["pixel_values", { dtype: "F32", shape: [48, 96], bytes: bytesOfF32(values) }],
        ["image_grid_thw", integers([2, 3], [1, 4, 6, 1, 6, 4])],
        ...Object.entries(state),
      ]),
    );
  };
  const positions = {
    position_ids: integers(
      [15, 3],
      Array.from({ length: 45 }, (_, i) => Math.floor(i / 3)),
    ),
  };
  const refused = expect.objectContaining({
    code: "INPUTS_INVALID",
    message: expect.stringMatching(/^the runs of image/),
  });

  test("have no positions", async () => {
    const hf = hfSide(DENSE!);
    await expect(runParity({ a: hf, b: hf, backend, input: touching() })).rejects.toEqual(refused);
  });

  test("are taken with positions by transformers, and by torchtitan never", async () => {
    const hf = hfSide(DENSE!);
    const report = await runParity({ a: hf, b: hf, backend, input: touching(positions) });
    expect(report).toMatchObject({ verdict: "pass", inputs: { images: 2 } });
    const both = runParity({ a: nativeSide(DENSE!), b: hf, backend, input: touching(positions) });
    await expect(both).rejects.toEqual(refused);
  });
});
