import { expect, test } from "vitest";
import { InputError } from "../../src/base/errors.ts";
import type { Axes } from "../../src/table/dims/axes.ts";
import { checkKeyCount } from "../../src/table/key-count.ts";
import type { Source } from "../../src/table/request.ts";
import { alsoSpelled, drop, passThrough, type Rule, rename, stackExperts, tie } from "../../src/table/rule.ts";

const source = (count: number, shape: readonly number[] = [2, 2]): Source =>
  new Map(Array.from({ length: count }, (_, i) => [`t${i}`, { dtype: "F32", shape }]));

function refusal(rules: readonly Rule[], axes: Axes, tensors: Source): InputError | null {
  try {
    checkKeyCount(rules, axes, tensors);
    return null;
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
}

const layers = [rename("layers.{l}.w", "model.layers.{l}.w", "d")];
const experts = [stackExperts("layers.{l}.w", "model.layers.{l}.experts.{e}.w", "e d f")];

test.each([1e6, 1e9])("%d layers of a checkpoint with two tensors are refused", (l) => {
  const error = refusal(layers, { l, d: 4 }, source(2));
  expect(error?.code).toBe("CONFIG_TOO_LARGE");
  expect(error?.message).toBe(`the config describes ${2 * l} keys of both layouts, ${l} of them "layers.{l}.w"`);
  expect(error?.details).toMatchObject({
    tensor: "layers.{l}.w",
    expected: "sizes of a model that the checkpoint's 2 tensors can belong to",
    found: `l = ${l} in "layers.{l}.w"`,
  });
  expect(error?.details.help).toContain("--config");
});

test("sizes that multiply are refused though each is small", () => {
  const error = refusal(experts, { l: 2000, e: 2000, d: 4, f: 4 }, source(1));
  expect(error?.details.found).toBe('l = 2000, e = 2000 in "model.layers.{l}.experts.{e}.w"');
});

test.each<[string, Rule]>([
  ["a tie", tie("hf", "a.{l}", "b.{l}", "tied", false)],
  ["a drop", drop("native", "a.{l}", "derived", { dims: "d" })],
  ["what passes over an axis", passThrough("a.{l}.{key}", "b.{l}.{key}", [], ["w"])],
  ["another spelling", alsoSpelled("hf", ["c.{l}"], rename("a.{l}", "b.{l}", "d"))],
])("%s counts", (_, rule) => {
  expect(refusal([rule], { l: 1e9, d: 1 }, source(1))?.code).toBe("CONFIG_TOO_LARGE");
});

test("a list of indices counts as many as it has", () => {
  const indices = Array.from({ length: 2000 }, (_, i) => i);
  expect(refusal(experts, { l: indices, e: 2000, d: 4, f: 4 }, source(1))?.code).toBe("CONFIG_TOO_LARGE");
});

test("an incomplete checkpoint of the largest models is not refused", () => {
  expect(refusal(experts, { l: 61, e: 3 * 384, d: 4, f: 4 }, source(1))).toBeNull();
});

test("a large table is not refused where the checkpoint has its tensors, or elements enough for them", () => {
  const axes = { l: 100, e: 2000, d: 4, f: 4 };
  expect(refusal(experts, axes, source(100))?.code).toBe("CONFIG_TOO_LARGE");
  expect(refusal(experts, axes, source(51_000))).toBeNull();
  expect(refusal(experts, axes, source(100, [2000, 2048, 1024]))).toBeNull();
});

test("neither shapes beside a zero nor those of views allow any number of keys", () => {
  const huge = [2 ** 40, 2 ** 40];
  expect(refusal(layers, { l: 1e6, d: 4 }, source(2, [...huge, 0]))?.code).toBe("CONFIG_TOO_LARGE");
  expect(refusal(layers, { l: 1e6, d: 4 }, source(2, huge))?.code).toBe("CONFIG_TOO_LARGE");
});

test("an axis without a size is left to the compiler, which names it", () => {
  expect(refusal(layers, { d: 4 }, source(1))).toBeNull();
});
