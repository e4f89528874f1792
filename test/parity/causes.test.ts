// Causes and places of faults that something else hides: a known difference upstream, a cast, a config, another fault.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { InputRequests } from "../../src/parity/inputs/several.ts";
import { type ParityReport, runParity } from "../../src/parity/parity.ts";
import { castSource } from "../../src/views/rounding.ts";
import { kindOf } from "../helpers/kinds.ts";
import {
  faulty,
  fixtureCase,
  hfSide,
  mutated,
  nativeSide,
  sampleOf,
  type TestModel,
  withSource,
} from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";

/** Short ones: of random ids there are never fewer than 512. */
function inputOf(name: string): InputRequests {
  const { inputs } = fixtureCase(name);
  if (inputs !== null) return { kind: "inputs", file: inputs };
  const file = join(scratch(), "ids.json");
  writeFileSync(file, JSON.stringify(Array.from({ length: 32 }, (_, t) => 16 + t)));
  return { kind: "ids", file };
}

describe("behind a known difference upstream", () => {
  test.each([
    ["qwen3/yarn", "its code scales otherwise from the first layer on"],
    ["hf_dense/gemma2-tied-bf16", "its norms have another eps"],
    ["muse_glimmer/images-bf16", "its vision tower has another table of positions"],
    ["kimi_k2_7/images", "one that passes by itself, at a KL of 2e-10"],
  ])("%s: %s; the fault behind it is named, and its place", async (name) => {
    const a = nativeSide(name);
    const [place] = kindOf("tensors-swapped")
      .places(sampleOf(name))
      .filter((key) => /layers\.1\..*mlp\.(?:experts\.\d+\.)?gate_proj\.weight$/.test(key));
    const report = await runParity({
      a,
      b: faulty(name, "tensors-swapped", place!),
      input: inputOf(name),
      backend: "cpu",
    });
    expect(report.knownDifferences.length).toBeGreaterThan(0);
    expect(report).toMatchObject({ verdict: "fail", cause: { code: "TENSORS_SWAPPED" } });
    expect(report.cause!.tensors).toContain(place);
    expect(report.causes[0]).toEqual(report.cause);
    expect(report.firstDivergence?.tap).toMatch(/layers\.1\.(?:ffn|mlp)/);
  });
});

const compare = (name: string, b: TestModel): Promise<ParityReport> =>
  runParity({ a: nativeSide(name), b, input: inputOf(name), backend: "cpu" });

const K = "model.layers.1.self_attn.k_proj.weight";
const [GATE, UP] = ["gate", "up"].map((word) => `model.layers.2.mlp.${word}_proj.weight`);
const asBf16 = (side: TestModel, only?: RegExp): TestModel =>
  withSource(
    side,
    castSource(side.source, (key) => (only?.test(key) === false ? undefined : "BF16")),
  );

describe("through a cast", () => {
  const name = "qwen3/split";

  test.each([
    ["of all tensors", (side: TestModel) => asBf16(side)],
    ["of some", (side: TestModel) => asBf16(side, /layers\.[01]\..*self_attn/)],
  ])("%s, a fault is named, and the cast is told once", async (_, as) => {
    const { cause, causes, firstDivergence } = await compare(name, as(faulty(name, "rope-k-not-permuted", K)));
    expect(cause).toMatchObject({ code: "ROPE_PERMUTED", tensors: [K] });
    expect(firstDivergence?.tap).toBe("layers.1.attn");
    expect(causes.map(({ code }) => code)).toEqual(["ROPE_PERMUTED", "ROUNDED"]);
    const [, cast] = causes;
    expect(cast).toMatchObject({ tensors: [], explanation: expect.stringMatching(/other types.*F32 → BF16/) });
    expect(cast!.evidence).toMatch(/^that cast alone makes a mean KL of \d.*e-[3-6] nats/);
  });

  test("the wider side may be the one that is wrong", async () => {
    const a = asBf16(nativeSide(name));
    const report = await runParity({
      a,
      b: faulty(name, "rope-k-not-permuted", K),
      input: inputOf(name),
      backend: "cpu",
    });
    expect(report.cause).toMatchObject({ code: "ROPE_PERMUTED", tensors: [K] });
  });

  test("alone, with a config that differs: the config is what the cast does not explain", async () => {
    const side = hfSide(name, { rope_parameters: { rope_type: "default", rope_theta: 1e4 } });
    const { causes } = await compare(name, asBf16(side));
    expect(causes.map(({ code }) => code)).toEqual(["CONFIG_DIFFERS", "ROUNDED"]);
  });
});

describe("beside a config that differs", () => {
  const name = "qwen3/split";
  const at = (change: Parameters<typeof hfSide>[1]) =>
    withSource(hfSide(name, change), faulty(name, "rope-k-not-permuted", K).source);

  test("that hardly matters, weights come first", async () => {
    const { cause, causes } = await compare(name, at({ rms_norm_eps: 1.1e-6 }));
    expect(cause).toMatchObject({ code: "ROPE_PERMUTED", tensors: [K] });
    expect(causes[1]).toMatchObject({ code: "CONFIG_DIFFERS", fields: ["rms_norm_eps"] });
    expect(causes[1]!.evidence).toMatch(/the configs are not why the logits differ$/);
  });

  test("that matters more, both are told", async () => {
    const { causes } = await compare(name, at({ rms_norm_eps: 10 }));
    expect(causes.map(({ code }) => code)).toEqual(["CONFIG_DIFFERS", "ROPE_PERMUTED"]);
  });

  test("fields without an effect are told apart from those that have one", async () => {
    const rope = { rope_type: "default", rope_theta: 5e5 };
    // Of 32 tokens, none sees a window of 300.
    const window = { use_sliding_window: true, max_window_layers: 0, layer_types: undefined, sliding_window: 300 };
    const { causes } = await compare(name, hfSide(name, { rope_parameters: rope, ...window }));
    expect(causes.map(({ code }) => code)).toEqual(["CONFIG_DIFFERS", "CONFIG_DIFFERS"]);
    expect(causes[0]).toMatchObject({ fields: ["rope_parameters.rope_theta"] });
    expect(causes[1]!.fields).toContain("sliding_window");
  });

  test("the side whose config its trainer does not compute is the wrong one", async () => {
    const name = "qwen3_5_moe/text";
    const text = Object(sampleOf(name).config.text_config);
    const { cause } = await compare(name, hfSide(name, { text_config: { ...text, rms_norm_eps: 1e-3 } }));
    expect(cause).toMatchObject({ code: "CONFIG_DIFFERS", fields: ["text_config.rms_norm_eps"] });
    expect(cause!.explanation).toMatch(
      /b's is wrong in text_config.rms_norm_eps, or asks for what torchtitan does not compute/,
    );
  });
});

test("two faults far from each other are both told, the first one first", async () => {
  const name = "qwen3/split";
  const permuted = faulty(name, "rope-k-not-permuted", K);
  const { source } = kindOf("tensors-swapped").make({ ...sampleOf(name), source: permuted.source }, GATE!);
  const { cause, causes, firstDivergence } = await compare(name, withSource(hfSide(name), source));
  expect(causes.map(({ code, tensors }) => [code, tensors])).toEqual([
    ["ROPE_PERMUTED", [K]],
    ["TENSORS_SWAPPED", [GATE, UP]],
  ]);
  expect(cause).toEqual(causes[0]);
  expect(causes[1]!.evidence).toMatch(/^2 tensors elsewhere are so/);
  expect(firstDivergence?.tap).toBe("layers.1.attn");
});

describe("logits that are no numbers", () => {
  const name = "qwen3/split";
  const side = hfSide(name);
  const put = (key: string, at: number, value: number) => {
    const bytes = new Uint8Array(side.source.tensors.get(key)!.byteLength);
    side.source.read(key, 0, bytes);
    new Float32Array(bytes.buffer)[at] = value;
    return { bytes };
  };

  test("of weights that are none: each is named, with how many and where", async () => {
    const b = mutated(side, { [K]: put(K, 50, Number.NaN), [UP!]: put(UP!, 0, Number.POSITIVE_INFINITY) });
    const { cause } = await compare(name, b);
    expect(cause).toMatchObject({ code: "NON_FINITE", tensors: [K, UP] });
    expect(cause!.explanation).toMatch(
      /"model.layers.1.self_attn.k_proj.weight" of b holds 1 NaN of \d+ elements, the first at \[1,6\]/,
    );
    expect(cause!.evidence).toContain(`"${UP}" 1 infinite of`);
  });

  test("of weights that are: the pass overflows, and what differs comes first", async () => {
    const { causes } = await compare(name, mutated(side, { [K]: put(K, 50, 3e38), [UP!]: put(UP!, 0, 3e38) }));
    for (const { code, tensors, explanation } of causes.filter((each) => each.code === "NON_FINITE")) {
      expect([code, tensors]).toEqual(["NON_FINITE", []]);
      expect(explanation).toMatch(/every weight of b is finite: its forward pass overflows/);
    }
    expect(causes[0]!.tensors).toContain(K);
  });
});
