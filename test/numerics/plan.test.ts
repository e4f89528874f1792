import { describe, expect, test } from "vitest";
import type { Forward } from "../../numerics/graph.ts";
import { planForward, type TensorShape } from "../../numerics/shapes/plan.ts";
import { layoutOf } from "../helpers/layouts.ts";
import { familyOf, fixtureCase, hfSide } from "../helpers/models.ts";

const shapes: Readonly<Record<string, readonly number[]>> = {
  embed: [10, 4],
  w: [6, 4],
  b: [6],
  head: [10, 6],
  n: [4],
};
const tensor = (key: string): TensorShape => ({ key, dtype: "BF16", shape: shapes[key]! });

const twoSteps: Forward = function* (op, weight, { ids_T }) {
  const x_TD = op.rmsNorm(op.gather(weight("embed"), ids_T), weight("n"), 1e-5);
  yield { name: "embed", value: x_TD };
  const y_TF = op.map("silu", op.linear(x_TD, weight("w"), weight("b")));
  yield { name: "mid", value: op.reshape(y_TF, [ids_T.length, 6]) };
  return op.linear(y_TF, weight("head"));
};

test("each step has its weights, FLOPs and the activations alive at once", () => {
  const plan = planForward(twoSteps, tensor, { ids_T: [1, 2, 3] });
  expect(plan.logits).toEqual([3, 10]);
  expect(plan.steps).toEqual([
    {
      tap: "embed",
      weights: ["embed", "n"],
      weightBytes: 88,
      largestWeightBytes: 80,
      flops: 3 * 4 * 4,
      peakValues: 24,
      tapValues: 12,
    },
    {
      tap: "mid",
      weights: ["w", "b"],
      weightBytes: 60,
      largestWeightBytes: 48,
      flops: 3 * 6 * (2 * 4 + 1) + 3 * 6 * 4,
      // The linear's output and silu's; x was freed before silu ran.
      peakValues: 36,
      tapValues: 18,
    },
    {
      tap: "logits",
      weights: ["head"],
      weightBytes: 120,
      largestWeightBytes: 120,
      flops: 3 * 10 * 12,
      peakValues: 48,
      tapValues: 30,
    },
  ]);
});

test("attention counts the pairs that the mask lets see each other", () => {
  const flops = (window: number | null) =>
    planForward(
      function* (op, weight) {
        const q_TNH = op.reshape(weight("q"), [5, 2, 3]);
        const k_TKH = op.reshape(weight("k"), [5, 1, 3]);
        const mask = window === null ? ({ kind: "causal" } as const) : ({ kind: "window", size: window } as const);
        yield { name: "x", value: q_TNH };
        return op.reshape(op.attention(q_TNH, k_TKH, k_TKH, { scale: 1, mask }), [5, 6]);
      },
      (key) => ({ key, dtype: "F32", shape: key === "q" ? [5, 6] : [5, 3] }),
      { ids_T: [0] },
    ).flops;
  // Two heads, 2 · (3 + 3) operations a pair; 1 + 2 + 3 + 4 + 5 pairs, or 1 + 2 + 2 + 2 + 2.
  expect(flops(null)).toBe(2 * 12 * 15);
  expect(flops(2)).toBe(2 * 12 * 9);
  expect(flops(99)).toBe(2 * 12 * 15);
});

test("a family's pass reads every tensor of its checkpoint", () => {
  const { checkpoint, family } = hfSide("qwen3/split");
  const plan = planForward(layoutOf(family, "hf").forward(), (key) => checkpoint.tensors.get(key)!, { ids_T: [1, 2] });
  expect(plan.steps.flatMap((step) => step.weights).sort()).toEqual([...checkpoint.tensors.keys()].sort());
  expect(plan.steps.map(({ tap }) => tap).slice(0, 4)).toEqual([
    "embed",
    "layers.0.attn",
    "layers.0.ffn",
    "layers.1.attn",
  ]);
});

describe("refused, naming the tensor", () => {
  const plan = (change: Readonly<Record<string, readonly number[]>>, ids = [1]) =>
    planForward(twoSteps, (key) => ({ key, dtype: "F32", shape: change[key] ?? shapes[key]! }), { ids_T: ids });

  test.each([
    ["w", [6, 5], "linear", "[outputs, 4]"],
    ["b", [5], "linear", "[6]"],
    ["n", [5], "rmsNorm", "[4]"],
    ["head", [10], "linear", "[outputs, 6]"],
    ["embed", [4], "gather", "2 dimensions"],
  ] as const)("%s of shape %j", (key, shape, op, expected) => {
    expect(() => plan({ [key]: shape })).toThrow(
      expect.objectContaining({
        code: "SHAPE_MISMATCH",
        message: `${op}: "${key}" has shape [${shape.join(", ")}], expected ${expected}`,
      }),
    );
  });

  test.each([10, -1, 0.5])("id %d", (id) => {
    expect(() => plan({}, [1, id])).toThrow(expect.objectContaining({ code: "ID_OUT_OF_RANGE" }));
  });

  test("heads that do not divide the projection", () => {
    const family = familyOf(fixtureCase("qwen3/split"), { head_dim: 12 });
    const { checkpoint } = hfSide("qwen3/split");
    expect(() =>
      planForward(layoutOf(family, "hf").forward(), (key) => checkpoint.tensors.get(key)!, { ids_T: [1] }),
    ).toThrow(expect.objectContaining({ code: "SHAPE_MISMATCH" }));
  });
});
