// A rule that adds to values: in both directions, rounded as torch rounds, and never where nothing leaves the side.
import { describe, expect, test } from "vitest";
import type { Dtype } from "../../src/base/dtype.ts";
import { compileTable } from "../../src/table/plan.ts";
import { plus, rename, together } from "../../src/table/rule.ts";
import { type TensorSource, tensorInfo } from "../../src/views/tensor-source.ts";
import { addingTo } from "../../src/views/values/adding.ts";

const wordsOf = { BF16: Uint16Array, F16: Uint16Array, F32: Uint32Array } as const;
type Small = keyof typeof wordsOf;

function sourceOf(dtype: Dtype, words: ArrayBufferView, key = "norm"): TensorSource {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  const info = tensorInfo(key, dtype, [(8 * bytes.length) / { F64: 64, F32: 32, F16: 16, BF16: 16 }[dtype as Small]]);
  return {
    tensors: new Map([[key, info]]),
    read: (_, begin, target) => target.set(bytes.subarray(begin, begin + target.length)),
  };
}

/** Bits of 0, 0.001, -0.3, 2^-8, -1, 2.7, 1e-30, 0.0117, and what torch 2.13 makes of them with 1 added, and taken away. */
const TORCH = {
  BF16: [
    [0, 14979, 48794, 15232, 49024, 16429, 3490, 15424],
    [16256, 16256, 16179, 16256, 0, 16493, 16256, 16258],
    [49024, 49024, 49062, 49023, 49152, 16346, 49024, 49021],
  ],
  F16: [
    [0, 5145, 46285, 7168, 48128, 16742, 0, 8702],
    [15360, 15361, 14746, 15364, 0, 17254, 15360, 15372],
    [48128, 48126, 48435, 48120, 49152, 16076, 48128, 48104],
  ],
  F32: [
    [0, 981668463, 3197737370, 998244352, 3212836864, 1076677837, 228737632, 1010807131],
    [1065353216, 1065361605, 1060320051, 1065385984, 0, 1080872141, 1065353216, 1065451363],
    [3212836864, 3212820087, 3215353446, 3212771328, 3221225472, 1071225242, 3212836864, 3212640571],
  ],
} as const;

describe.each(["BF16", "F16", "F32"] as const)("%s", (dtype) => {
  test.each([
    [1, TORCH[dtype][1]],
    [-1, TORCH[dtype][2]],
  ])("with %i added has the bits of torch", (amount, expected) => {
    const Words = wordsOf[dtype];
    const adding = addingTo(sourceOf(dtype, Words.from(TORCH[dtype][0])), new Map([["norm", amount]]));
    const found = new Words(expected.length);
    adding.read("norm", 0, new Uint8Array(found.buffer));
    expect([...found]).toEqual(expected);
    const width = Words.BYTES_PER_ELEMENT;
    const last = new Words(2);
    adding.read("norm", 6 * width, new Uint8Array(last.buffer));
    expect([...last]).toEqual(expected.slice(6));
  });
});

test("F64, more values than are added at once, and a tensor to which nothing is added", () => {
  const values = Float64Array.from({ length: 9001 }, (_, i) => i / 7);
  const source = sourceOf("F64", values);
  const found = new Float64Array(values.length);
  addingTo(source, new Map([["norm", 1]])).read("norm", 0, new Uint8Array(found.buffer));
  expect(found).toEqual(values.map((value) => value + 1));
  addingTo(source, new Map([["other", 1]])).read("norm", 0, new Uint8Array(found.buffer));
  expect(found).toEqual(values);
  expect(() => addingTo(source, new Map([["norm", 1]])).read("norm", 4, new Uint8Array(8))).toThrow(/cuts an element/);
});

test("a plan says what is added to which source tensor, by direction", () => {
  const rules = [
    plus(1, rename("layers.{l}.out_norm.weight", "model.layers.{l}.norm.weight", "d")),
    rename("norm.weight", "model.norm.weight", "d"),
  ];
  const table = compileTable(rules, { l: 2, d: 3 });
  const named = (...keys: string[]) => new Map(keys.map((key) => [key, { dtype: "F32" as const, shape: [3] }]));
  const native = named("layers.0.out_norm.weight", "layers.1.out_norm.weight", "norm.weight");
  const hf = named("model.layers.0.norm.weight", "model.layers.1.norm.weight", "model.norm.weight");
  const added = (amount: number, keys: Iterable<string>) => new Map([...keys].slice(0, 2).map((key) => [key, amount]));
  expect(table.plan("toHf", native).plus).toEqual(added(1, native.keys()));
  expect(table.plan("fromHf", hf).plus).toEqual(added(-1, hf.keys()));
});

test("it does not join rules that are absent together", () => {
  expect(() => together("mtp", [plus(1, rename("a", "b", "d"))])).toThrow(/adds to its values/);
});
