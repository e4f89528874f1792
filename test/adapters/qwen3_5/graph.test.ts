// Faults that Qwen3.5's graphs have to show: torchtitan's weights against HF's, and graphs against goldens, with one thing
// wrong.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { qwen35, qwen35Moe } from "../../../adapters/qwen3_5/index.ts";
import type { Forward, Ops } from "../../../numerics/graph.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import { openCheckpoint } from "../../../src/model/open.ts";
import { runParity } from "../../../src/parity/parity.ts";
import { readState, type State, type Stored, writeSafetensors } from "../../helpers/checkpoints.ts";
import { converted } from "../../helpers/converted.ts";
import { judged } from "../../helpers/judged.ts";
import { differencesOf, layoutOf, runBy } from "../../helpers/layouts.ts";
import { bytesOf, fixtureCase, hfSide, modelOf, mutated, nativeSide, type TestModel } from "../../helpers/models.ts";
import { scratch } from "../../helpers/scratch.ts";
import { inputsWith, rearranged } from "../../helpers/vision.ts";

/**
 * Two delta nets, then full attention. 2 key heads of 10 channels, 6 value heads of 12, a convolution over 4 tokens; 6 query
 * heads of 20 channels, 12 of them rotated; a tower of two heads of 12 channels and 7 × 7 positions, 2 · 3 · 4 · 4 values a
 * patch.
 */
const [DENSE, MOE] = ["qwen3_5/vision-tied-bf16", "qwen3_5_moe/vision"] as const;
const VISUAL = "model.visual";
const TEXT = "model.language_model";
const backend = "cpu";

/**
 * transformers samples the table of positions with weights rounded to f32. The mixture has tokens whose state all but
 * cancels, so that the norm behind it makes that 1e-11 nats/token; its grids here are those whose weights are exact.
 */
const GRIDS = {
  [DENSE]: [
    [1, 4, 6],
    [1, 2, 2],
    [1, 8, 10],
  ],
  [MOE]: [
    [1, 4, 2],
    [1, 2, 2],
    [1, 4, 4],
  ],
} as const;
type Name = keyof typeof GRIDS;

const images = (name: Name) =>
  inputsWith({ grids: GRIDS[name], patchDim: 96, imageToken: 7, textIds: [1, 20, 3, 120, 55] });
const inputsOf = (state: State) =>
  ({ kind: "inputs", file: join(writeSafetensors(scratch(), state), "model.safetensors") }) as const;
const given = (name: string) => ({ kind: "inputs", file: fixtureCase(name).inputs ?? "" }) as const;
const integers = (shape: readonly number[], values: readonly number[]): Stored => ({
  dtype: "I64",
  shape,
  bytes: new Uint8Array(BigInt64Array.from(values, BigInt).buffer),
});
const textIds = () => {
  const ids = Array.from({ length: 300 }, (_, t) => 11 + ((t * t) % 110));
  return inputsOf(new Map([["input_ids", integers([300], ids)]]));
};
const configOf = (name: string): JsonObject & Record<"text_config" | "vision_config", JsonObject> =>
  JSON.parse(readFileSync(`${fixtureCase(name).hf}/config.json`, "utf8"));

/** torchtitan's side with all that upstream is known to do differently undone, so that it hides no fault. */
function exact(side: TestModel): TestModel {
  const { layout } = side;
  const undone = differencesOf(layout).at(-1)?.undone ?? layout.forward();
  return { ...side, layout: runBy(layout, undone) };
}

type Input = Parameters<typeof runParity>[0]["input"];

const compare = (a: TestModel, b: TestModel, input: Input) =>
  runParity({ a: exact(a), b, backend, input, maxKlNats: 1e-13, localise: true });

describe.each([DENSE, MOE])("%s", (name) => {
  test("both sides agree on images of several grids", async () => {
    const report = await compare(nativeSide(name), hfSide(name), images(name));
    expect(report).toMatchObject({ verdict: "pass", firstDivergence: null, unusedTensors: [], unexercisedTensors: [] });
  });

  test("and on text alone, whose positions are the same along every axis", async () => {
    const report = await compare(nativeSide(name), hfSide(name), textIds());
    expect(report).toMatchObject({ verdict: "pass", firstDivergence: null, unusedTensors: [] });
    expect(report.unexercisedTensors.every((key) => /^(model\.visual|vision_encoder)\./.test(key))).toBe(true);
  });

  test("the merger's GELU is a difference of upstream, and shows behind it", async () => {
    const report = await runParity({
      a: nativeSide(name),
      b: hfSide(name),
      backend,
      input: given(name),
      localise: true,
    });
    expect(report).toMatchObject({
      verdict: "fail",
      verdictWithoutKnown: "pass",
      cause: { code: "VISION_MERGER_GELU" },
      firstDivergence: { tap: "vision.merged" },
    });
    expect(report.metrics.klMeanNats).toBeGreaterThan(1e-8);
    expect(report.metrics.klMeanNats).toBeLessThan(1e-6);
  });

  test.each(["hf", "native"])("%s: positions are derived as they were given, and count", async (side) => {
    const { golden, nativeGolden, inputs } = fixtureCase(name);
    const a = side === "hf" ? hfSide(name) : nativeSide(name);
    const truth = side === "hf" ? golden : (nativeGolden ?? "");
    const state = readState(inputs ?? "");
    const positions = state.get("position_ids")!;
    const against = async (changed: State) =>
      (await judged({ a, golden: truth, input: inputsOf(changed) })).metrics.klMeanNats;
    const turned = [...new BigInt64Array(positions.bytes.slice().buffer)].map(Number);
    for (let t = 0; t < turned.length; t += 3) [turned[t + 1], turned[t + 2]] = [turned[t + 2]!, turned[t + 1]!];
    expect(await against(new Map([...state].filter(([key]) => key !== "position_ids")))).toBeLessThan(1e-13);
    expect(await against(new Map([...state, ["position_ids", integers(positions.shape, turned)]]))).toBeGreaterThan(
      1e-8,
    );
  });
});

test("experts under the names that they had before routed_experts", async () => {
  const folder = join(scratch(), "native");
  const layout = "torchtitan-2026-05";
  await converted(fixtureCase(MOE).hf, folder, { to: layout });
  const checkpoint = openCheckpoint(folder);
  const a = nativeSide(MOE);
  const report = await compare(modelOf(a.family, layoutOf(a.family, layout), checkpoint), hfSide(MOE), given(MOE));
  expect(report).toMatchObject({ verdict: "pass", firstDivergence: null, unusedTensors: [] });
});

describe.each([
  [DENSE, qwen35],
  [MOE, qwen35Moe],
] as const)("%s without its tower", (name, adapter) => {
  const json = configOf(name);
  const family = adapter.open(
    { ...json.text_config, model_type: `${adapter.family}_text`, tie_word_embeddings: name === DENSE },
    "config.json",
  );
  const alone = (side: TestModel, rename: (key: string) => string): TestModel => {
    const { checkpoint, layout } = side;
    const state: State = new Map(
      [...checkpoint.tensors]
        .filter(([key]) => !/^(model\.visual|vision_encoder)\./.test(key))
        .map(([key, { dtype, shape }]) => [rename(key), { dtype, shape, bytes: bytesOf(checkpoint, key) }]),
    );
    return modelOf(family, layoutOf(family, layout.name), openCheckpoint(writeSafetensors(scratch(), state)));
  };

  test.each(["model.", "model.language_model."])("as %s…: the same model of text", async (prefix) => {
    const hf = alone(hfSide(name), (key) => key.replace(/^model\.language_model\./, prefix));
    const report = await compare(
      alone(nativeSide(name), (key) => key),
      hf,
      textIds(),
    );
    expect(report).toMatchObject({ verdict: "pass", firstDivergence: null, unusedTensors: [], knownDifferences: [] });
    const whole = await runParity({ a: hf, b: hfSide(name), backend, input: textIds(), maxKlNats: 1e-15 });
    expect(whole.metrics).toMatchObject({ klMeanNats: 0, top1: 1 });
  });
});

describe("a fault in the weights fails where it is", () => {
  const shows = async (name: Name, key: string, parts: number, order: (part: number) => number, tap: string) => {
    const hf = hfSide(name);
    const b = mutated(hf, { [key]: rearranged(hf.checkpoint, key, parts, order) });
    expect(await compare(nativeSide(name), b, images(name))).toMatchObject({
      verdict: "fail",
      firstDivergence: { tap },
    });
  };
  const delta = `${TEXT}.layers.1.linear_attn`;
  const full = `${TEXT}.layers.2`;
  const experts = `${TEXT}.layers.1.mlp.experts`;
  /** The first 20 of 112 rows, and the 20 behind them, changed places. */
  const swapped = (row: number) => (row < 20 ? row + 20 : row < 40 ? row - 20 : row);

  test.each<[string, string, number, (part: number) => number, string]>([
    [
      "the position table turned",
      `${VISUAL}.pos_embed.weight`,
      49,
      (p) => 7 * (p % 7) + Math.floor(p / 7),
      "vision.embed",
    ],
    [
      "patches with frames before colours",
      `${VISUAL}.patch_embed.proj.weight`,
      24 * 6,
      (part) => part - (part % 6) + [0, 2, 4, 1, 3, 5][part % 6]!,
      "vision.embed",
    ],
    [
      "queries and keys that turn with the column where the row turns",
      `${VISUAL}.blocks.1.attn.qkv.weight`,
      72,
      (row) => (row < 48 ? row - (row % 6) + ((row + 3) % 6) : row),
      "vision.1",
    ],
    [
      "the tower's queries and keys changed places",
      `${VISUAL}.blocks.0.attn.qkv.bias`,
      3,
      (p) => [1, 0, 2][p]!,
      "vision.0",
    ],
    [
      "squares of patches column by column",
      `${VISUAL}.merger.linear_fc1.weight`,
      96 * 4,
      (part) => part - (part % 4) + [0, 2, 1, 3][part % 4]!,
      "vision.merged",
    ],
    ["the convolution backwards", `${delta}.conv1d.weight`, 112 * 4, (tap) => tap ^ 3, "layers.1.attn"],
    [
      "the convolution a token late",
      `${delta}.conv1d.weight`,
      112 * 4,
      (tap) => tap - (tap % 4) + ((tap + 1) % 4),
      "layers.1.attn",
    ],
    ["queries and keys of a delta net changed places", `${delta}.in_proj_qkv.weight`, 112, swapped, "layers.1.attn"],
    ["and those of its convolution", `${delta}.conv1d.weight`, 112, swapped, "layers.1.attn"],
    ["decays of other heads", `${delta}.A_log`, 6, (head) => (head + 1) % 6, "layers.1.attn"],
    ["steps of other heads", `${delta}.dt_bias`, 6, (head) => (head + 1) % 6, "layers.1.attn"],
    ["gates of other heads", `${delta}.in_proj_z.weight`, 6, (head) => (head + 1) % 6, "layers.1.attn"],
    ["the delta net's norm backwards", `${delta}.norm.weight`, 12, (channel) => 11 - channel, "layers.1.attn"],
    [
      "queries and their gates changed places",
      `${full}.self_attn.q_proj.weight`,
      12,
      (part) => part ^ 1,
      "layers.2.attn",
    ],
    [
      "all queries before all gates",
      `${full}.self_attn.q_proj.weight`,
      12,
      (part) => (part < 6 ? 2 * part : 2 * (part - 6) + 1),
      "layers.2.attn",
    ],
    [
      "rotated channels behind those that are not",
      `${full}.self_attn.k_norm.weight`,
      5,
      (part) => (part + 2) % 5,
      "layers.2.attn",
    ],
  ])("%s", (_name, key, parts, order, tap) => shows(DENSE, key, parts, order, tap));

  test.each<[string, string, number, (part: number) => number]>([
    ["gate and up changed places", `${experts}.gate_up_proj`, 10, (part) => part ^ 1],
    ["experts changed places", `${experts}.down_proj`, 5, (e) => (e + 1) % 5],
    ["rows of the router changed places", `${TEXT}.layers.1.mlp.gate.weight`, 5, (e) => (e + 1) % 5],
    ["the shared expert's gate backwards", `${TEXT}.layers.1.mlp.shared_expert_gate.weight`, 31, (d) => 30 - d],
  ])("%s", (_name, key, parts, order) => shows(MOE, key, parts, order, "layers.1.ffn"));
});

/** The same pass over ops of which some do another thing. */
type Fault = <N extends { readonly shape: readonly number[] }>(op: Ops<N>) => Partial<Ops<N>>;

const faulty =
  (forward: Forward, fault: Fault): Forward =>
  (op, weight, input) =>
    forward(Object.assign(Object.create(op), fault(op)), weight, input);

const filled = <N extends { readonly shape: readonly number[] }>(op: Ops<N>, { shape }: N, value: number): N =>
  op.constant(Array<number>(shape.reduce((product, size) => product * size, 1)).fill(value), shape);

/** Tokens × 6 heads × 20 channels, whether or not heads are told apart. */
const isGate = (shape: readonly number[]) => shape.slice(1).reduce((product, size) => product * size, 1) === 120;

describe.each<[string, Fault, readonly string[]]>([
  [
    "the gate of full attention dropped",
    (op) => ({ map: (f, x) => (f === "sigmoid" && isGate(x.shape) ? filled(op, x, 1) : op.map(f, x)) }),
    [DENSE, MOE],
  ],
  [
    "the gate of the delta net's norm dropped",
    (op) => ({
      map: (f, x) =>
        f === "silu" && x.shape.length === 3 && x.shape[2] === 12 && x.shape[1] === 6 ? filled(op, x, 1) : op.map(f, x),
    }),
    [DENSE],
  ],
  [
    "norms by w where 1 + w belongs",
    (op) => ({ affine: (x, factor, offset = 0) => op.affine(x, factor, offset === 1 ? 0 : offset) }),
    [DENSE, MOE],
  ],
  [
    "the shared expert's gate dropped",
    (op) => ({ map: (f, x) => (f === "sigmoid" && x.shape[1] === 1 ? filled(op, x, 1) : op.map(f, x)) }),
    [MOE],
  ],
  [
    "queries and keys of the delta net not normalised",
    (op) => ({ rmsNorm: (x, weight, eps) => (weight === null ? op.affine(x, 1) : op.rmsNorm(x, weight, eps)) }),
    [DENSE],
  ],
  [
    "states that do not fade",
    (op) => ({ deltaRule: (q, k, v, g, b) => op.deltaRule(q, k, v, filled(op, g, 0), b) }),
    [DENSE],
  ],
  [
    "states written in full",
    (op) => ({ deltaRule: (q, k, v, g, b) => op.deltaRule(q, k, v, g, filled(op, b, 1)) }),
    [DENSE],
  ],
  [
    "value heads that take turns at the key heads",
    (op) => ({
      deltaRule: (q, k, v, g, b) => {
        const expanded = (x: typeof q) => op.concat([x, x, x], 1);
        return op.deltaRule(expanded(q), expanded(k), v, g, b);
      },
    }),
    [DENSE],
  ],
  [
    "the whole head rotated in adjacent pairs",
    (op) => ({ rope: (x, table) => op.rope(x, table, "adjacent") }),
    [DENSE],
  ],
])("%s", (_name, fault, names) => {
  describe.each(names)("%s", (name) => {
    const { golden, nativeGolden } = fixtureCase(name);
    test.each<[string, TestModel, string]>([
      ["hf", hfSide(name), golden],
      ["native", nativeSide(name), nativeGolden ?? ""],
    ])("%s: fails", async (_side, right, truth) => {
      const forward = faulty(right.layout.forward(), fault);
      const layout = runBy(right.layout, forward);
      const report = await judged({ a: { ...right, layout }, golden: truth, input: given(name) });
      expect(report).toMatchObject({
        verdict: "fail",
        findings: expect.arrayContaining([expect.objectContaining({ code: "KL" })]),
      });
    });
  });
});

describe("a config of other mathematics fails against transformers' logits", () => {
  const json = configOf(DENSE);
  const text = (fields: JsonObject) => ({ text_config: { ...json.text_config, ...fields } });
  const rope = { rope_type: "default", rope_theta: 1_000_000, mrope_section: [2, 2, 2], partial_rotary_factor: 0.6 };

  test.each<[string, JsonObject]>([
    ["rows without frequencies", text({ rope_parameters: { ...rope, mrope_section: [4, 0, 2] } })],
    ["columns without frequencies", text({ rope_parameters: { ...rope, mrope_section: [4, 2, 0] } })],
    ["another base", text({ rope_parameters: { ...rope, rope_theta: 10_000 } })],
    ["more rotated channels", text({ rope_parameters: { ...rope, partial_rotary_factor: 0.8 } })],
    [
      "another base of the tower's rotation",
      { vision_config: { ...json.vision_config, rope_parameters: { rope_type: "axial", rope_theta: 100 } } },
    ],
  ])("%s", async (_name, change) => {
    const report = await runParity({
      a: hfSide(DENSE, change),
      golden: fixtureCase(DENSE).golden,
      backend,
      input: given(DENSE),
      maxKlNats: 1e-12,
    });
    expect(report).toMatchObject({ verdict: "fail", findings: [{ code: "KL" }] });
  });
});

test("YaRN's factor and an eps are differences of upstream, each with its share", async () => {
  const rope_parameters = {
    rope_type: "yarn",
    rope_theta: 10_000,
    factor: 4,
    original_max_position_embeddings: 128,
    mrope_section: [2, 2, 2],
    partial_rotary_factor: 0.6,
  };
  const change = { text_config: { ...configOf(DENSE).text_config, rope_parameters, rms_norm_eps: 1e-5 } };
  const [a, b] = [nativeSide(DENSE, change), hfSide(DENSE, change)];
  const report = await runParity({ a, b, backend, input: images(DENSE), maxKlNats: 1e-13 });
  const codes = ["NORM_EPS", "YARN_ATTENTION_FACTOR", "VISION_MERGER_GELU"];
  expect(report.knownDifferences.map(({ code }) => code)).toEqual(codes);
  expect(report).toMatchObject({ verdict: "fail", verdictWithoutKnown: "pass" });
});

describe("no graph where upstream has none", () => {
  const open = (inVision: JsonObject, inText: JsonObject = {}) => {
    const json = configOf(DENSE);
    const [text_config, vision_config] = [
      { ...json.text_config, ...inText },
      { ...json.vision_config, ...inVision },
    ];
    return qwen35.open({ ...json, text_config, vision_config }, "config.json");
  };
  const section = { mrope_section: [2, 2, 2], partial_rotary_factor: 0.6 };
  const none = (code: string) => expect.objectContaining({ code });

  test("a head of the tower that rows and columns cannot share", () => {
    for (const layout of ["hf", "torchtitan"])
      expect(() => layoutOf(open({ num_heads: 4 }), layout).forward()).toThrow(none("NO_GRAPH"));
  });

  test.each<[string, JsonObject, JsonObject, string]>([
    ["a position table that is not square", { num_position_embeddings: 50 }, {}, "NO_GRAPH"],
    ["more frequencies than a head has", {}, { rope_parameters: { ...section, mrope_section: [0, 3, 3] } }, "NO_GRAPH"],
    [
      "linear scaling",
      {},
      { rope_parameters: { ...section, rope_type: "linear", factor: 2 } },
      "ROPE_NOT_IN_TORCHTITAN",
    ],
  ])("%s: in torchtitan alone", (_name, inVision, inText, code) => {
    const family = open(inVision, inText);
    expect(() => layoutOf(family, "torchtitan").forward()).toThrow(none(code));
    expect(() => layoutOf(family, "hf").forward()).not.toThrow();
  });
});

test("images that touch are refused", async () => {
  const input = inputsOf(
    new Map([
      ["input_ids", integers([15], [1, 2, ...Array<number>(12).fill(7), 3])],
      ["pixel_values", { dtype: "F32", shape: [48, 96], bytes: new Uint8Array(4 * 48 * 96) }],
      ["image_grid_thw", integers([2, 3], [1, 4, 6, 1, 6, 4])],
    ]),
  );
  await expect(runParity({ a: nativeSide(DENSE), b: hfSide(DENSE), backend, input })).rejects.toMatchObject({
    code: "INPUTS_INVALID",
  });
});
