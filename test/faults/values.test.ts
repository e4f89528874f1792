// What was done to values is told, and what comes near it is told apart; whose values a tensor holds, in either model.
import { describe, expect, test } from "vitest";
import { bytesOf, edited } from "../../src/faults/edit.ts";
import { modelsOf, pairOf } from "../../src/faults/pair.ts";
import { recognise } from "../../src/faults/registry.ts";
import { statements } from "../../src/faults/statements.ts";
import { weightFaults } from "../../src/faults/weights.ts";
import type { TensorSource } from "../../src/views/tensor-source.ts";
import { sampleOf } from "../helpers/models.ts";
import { all, type Change, changed, each, inRows, noise, random, through } from "../helpers/values.ts";

const NAMES = { one: "a", other: "b" };

function toldOf(name: string, key: string, change: Change) {
  const good = sampleOf(name);
  const bad = changed(good, key, change);
  return recognise(pairOf(modelsOf(good.source, bad.source, NAMES), key));
}

const UP = "model.layers.1.mlp.up_proj.weight";
const NORM = "model.layers.1.input_layernorm.weight";
const EXPERTS = "model.layers.1.mlp.experts.down_proj";
const A_LOG = "model.language_model.layers.0.linear_attn.A_log";
const halfTheRest = each((x, i) => (i % 75 < 32 ? 2.5 * x : 0.5 * x));
const truncated = each((x) => {
  const bits = new Uint32Array(new Float32Array([x]).buffer);
  return new Float32Array(new Uint32Array([bits[0]! & 0xffff0000]).buffer)[0]!;
});
const oneUnit = each((x) => {
  const bits = new Uint32Array(new Float32Array([x]).buffer);
  return new Float32Array(new Uint32Array([bits[0]! + 1]).buffer)[0]!;
});
const unrelated: Change = ({ values }) => {
  const next = random(3);
  return values.map(() => next() - 0.5);
};

test.each<[string, string, string, Change, string, RegExp]>([
  ["rounded", "llama3/split", UP, through("BF16"), "ROUNDED", /^is rounded to BF16 in a/],
  [
    "rounded, a few rows",
    "llama3/split",
    UP,
    inRows(3, 6, through("F16")),
    "ROUNDED",
    /to F16 in a: .* in 3 of 75 rows: 3 to 5/,
  ],
  ["cut off", "llama3/split", UP, truncated, "TRUNCATED", /not rounded, in a/],
  ["one unit", "llama3/split", UP, oneUnit, "LAST_PLACE", /but for 1 in the last place/],
  ["noise of 5e-4", "llama3/split", UP, noise(5e-4), "STALE_WEIGHTS", /differ by [45]\.\de-4 of their size/],
  ["noise of 3e-3 in bf16", "gpt_oss/bf16", EXPERTS, noise(3e-3), "STALE_WEIGHTS", /nearly the same/],
  ["noise of 5 %", "llama3/split", UP, noise(0.05), "STALE_WEIGHTS", /correlation 0\.99/],
  ["a norm with noise", "llama3/split", NORM, noise(0.01), "STALE_WEIGHTS", /nearly the same/],
  ["1.003 times", "llama3/split", UP, each((x) => 1.003 * x), "SCALED", /is 1\.003 times as large in a as in b/],
  ["1.003 times in bf16", "gpt_oss/bf16", EXPERTS, each((x) => 1.003 * x), "SCALED", /is 1\.00\d+ times/],
  [
    "one expert twice as large",
    "gpt_oss/bf16",
    EXPERTS,
    inRows(
      4,
      5,
      each((x) => 2 * x),
    ),
    "SCALED",
    /2\.000 times .* in 1 of 12 experts: 4/,
  ],
  [
    "a factor for each row",
    "llama3/split",
    "model.layers.1.mlp.down_proj.weight",
    each((x, i) => x * (1 + Math.floor(i / 75))),
    "SCALED",
    /1\.00 to 54\.0 times, by a factor for each row/,
  ],
  [
    "a factor for each block",
    "llama3/split",
    "model.layers.1.mlp.down_proj.weight",
    halfTheRest,
    "SCALED",
    /0\.500 to 2\.50 times, by a factor for each block of a row/,
  ],
  ["a factor for each column", "llama3/split", UP, each((x, i) => x * (1 + (i % 54))), "SCALED", /for each column/],
  ["1 less", "llama3/split", NORM, each((x) => x - 1), "OFFSET", /is 1 less in a than in b/],
  ["the other sign", "llama3/split", UP, each((x) => -x), "SIGN_FLIPPED", /other sign in a than in b/],
  ["the exponential", "qwen3_5/dense", A_LOG, each(Math.exp), "LOG_EXP", /is in a the exponential of what it is in b/],
  ["what is used", "qwen3_5/dense", A_LOG, each((x) => -Math.exp(x)), "LOG_EXP", /negative exponential/],
  [
    "the logarithm",
    "qwen3_5/dense",
    "model.language_model.layers.0.input_layernorm.weight",
    each((x) => Math.log(Math.abs(x) + 2)),
    "WEIGHTS_DIFFER",
    /other values/,
  ],
  ["zeros", "llama3/split", UP, each(() => 0), "ZEROED", /is 0 in a, and has values in b/],
  [
    "zeros in half the rows",
    "llama3/split",
    UP,
    inRows(
      0,
      37,
      each(() => 0),
    ),
    "ZEROED",
    /in 37 of 75 rows: 0 to 36/,
  ],
  [
    "an expert left out",
    "gpt_oss/bf16",
    EXPERTS,
    inRows(
      7,
      8,
      each(() => 0),
    ),
    "ZEROED",
    /in 1 of 12 experts: 7/,
  ],
  [
    "an infinite element",
    "llama3/split",
    UP,
    each((x, i) => (i === 7 ? Infinity : x)),
    "NON_FINITE_WEIGHTS",
    /1 of 4050 elements .* in a alone, the first at \[0, 7\]: Infinity/,
  ],
  ["other values", "llama3/split", UP, unrelated, "WEIGHTS_DIFFER", /their correlation is -?0\.0/],
  [
    "one value",
    "llama3/split",
    UP,
    each((x, i) => (i === 60 ? x + 1 : x)),
    "WEIGHTS_DIFFER",
    /1 of 4050 elements differ, .* the first at \[1, 6\]/,
  ],
  ["rounded, and noise", "llama3/split", UP, all(noise(1e-3), through("BF16")), "STALE_WEIGHTS", /nearly/],
])("%s: %s %s", (_, name, key, change, code, words) => {
  const told = toldOf(name, key, change);
  expect(told).toMatchObject({ code });
  expect(told.words).toMatch(words);
});

test("infinite elements of the reference are no rounding", () => {
  const good = sampleOf("llama3/split");
  const bad = changed(
    good,
    UP,
    each((x, i) => (i === 7 ? -Infinity : x)),
  );
  const told = recognise(pairOf(modelsOf(bad.source, good.source, NAMES), UP));
  expect(told).toMatchObject({ code: "NON_FINITE_WEIGHTS" });
  expect(told.words).toMatch(/in b alone, the first at \[0, 7\]: -Infinity against/);
});

describe("whose values a tensor holds", () => {
  const { source } = sampleOf("llama3/split");
  const copied = (to: string, from: string) => ({ [to]: { bytes: bytesOf(source, from) } });
  const keys = [...source.tensors.keys()];
  const saidOf = (right: TensorSource, other: TensorSource) =>
    statements(weightFaults({ right, other, keys, names: NAMES }), keys.length);
  const layer = (of: number) => keys.filter((key) => key.includes(`.layers.${of}.`));
  const inLayer = (key: string, of: number) => key.replace(/layers\.\d+/, `layers.${of}`);

  test("a layer that stands twice is said once, whichever model it is in", () => {
    const bad = edited(source, Object.assign({}, ...layer(1).map((key) => copied(key, inLayer(key, 0)))));
    for (const [right, other] of [
      [source, bad],
      [bad, source],
    ] as const) {
      const [said, ...more] = saidOf(right, other);
      expect(more).toEqual([]);
      expect(said).toMatchObject({ code: "TENSOR_REPEATED", tensors: layer(1) });
      expect(said!.explanation).toBe('"model.layers.1" holds what belongs to "model.layers.0": 9 tensors of it');
    }
  });

  test("layers in each other's place", () => {
    const bad = edited(
      source,
      Object.assign({}, ...[0, 1].flatMap((of) => layer(of).map((key) => copied(key, inLayer(key, 1 - of))))),
    );
    const [said, ...more] = saidOf(source, bad);
    expect(more).toEqual([]);
    expect(said).toMatchObject({ code: "TENSORS_SWAPPED" });
    expect(said!.explanation).toBe('"model.layers" hold what belongs to others of them: 0 holds 1, 1 holds 0');
  });

  test("norms of two roles, in all layers", () => {
    const roles = ["input_layernorm", "post_attention_layernorm"];
    const swapped = [0, 1].flatMap((of) =>
      roles.map((role, i) => copied(`model.layers.${of}.${role}.weight`, `model.layers.${of}.${roles[1 - i]}.weight`)),
    );
    const [said, ...more] = saidOf(source, edited(source, Object.assign({}, ...swapped)));
    expect(more).toEqual([]);
    expect(said!.explanation).toMatch(
      /^"model\.layers\.\*\.\w+\.weight" holds what belongs to "model\.layers\.\*\.\w+\.weight", in 4 places$/,
    );
  });

  test("a final norm in a layer's place, and a whole model in another type", () => {
    const bad = edited(source, { [NORM]: { bytes: bytesOf(source, "model.norm.weight") } });
    expect(saidOf(source, bad)).toMatchObject([{ code: "TENSOR_REPEATED", tensors: [NORM] }]);
    const cast = keys.reduce(
      (sample, key) => changed(sample, key, ({ values }) => values, "BF16"),
      sampleOf("llama3/split"),
    );
    const [said, ...more] = saidOf(source, cast.source);
    expect(more).toEqual([]);
    expect(said!.explanation).toMatch(/^all 21 tensors are so: ".*" is rounded to BF16 in a/);
  });
});
