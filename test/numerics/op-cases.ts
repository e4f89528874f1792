// Graphs of every op at odd sizes with outliers, for each backend to be held to the f64 reference.
import type { AttentionMask, Node, Ops, Pointwise } from "../../numerics/graph.ts";
import { softmax } from "../../numerics/routing.ts";
import { bytesAsWeight } from "../helpers/tensors.ts";
import { type Graph, normal, weight } from "./harness.ts";

export interface OpCase {
  readonly name: string;
  readonly graph: Graph;
  /** Largest √(Σ (x − r)² / Σ r²). */
  readonly tolerance: number;
}

/** Without outliers. */
const calm = (shape: readonly number[], seed: number, spread = 1) =>
  bytesAsWeight(
    normal(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ).map((x) => spread * x),
    shape,
    "F32",
  );

const POINTWISE: readonly Pointwise[] = ["silu", "sigmoid", "tanh", "exp", "softplus", "gelu", "geluTanh"];

const masks: readonly (readonly [string, AttentionMask])[] = [
  ["causal", { kind: "causal" }],
  ["window of 1", { kind: "window", size: 1 }],
  ["window of 13", { kind: "window", size: 13 }],
  ["chunks of 16", { kind: "chunk", size: 16 }],
  ["chunks of 7", { kind: "chunk", size: 7 }],
  ["one segment", { kind: "segments", lengths: [45] }],
  ["segments", { kind: "segments", lengths: [1, 20, 3, 21] }],
];

const attention =
  (mask: AttentionMask, channels: readonly [number, number], hasSinks: boolean, softcap?: number): Graph =>
  (op, put) => {
    const [q, k] = [put(calm([45, 6, channels[0]], 30)), put(calm([45, 3, channels[0]], 31))];
    const sinks_N = hasSinks ? put(calm([6], 33, 3)) : undefined;
    return op.attention(q, k, put(calm([45, 3, channels[1]], 32)), { scale: 0.4, mask, sinks_N, softcap });
  };

/** Twelve experts of which token 0 gets some that no other token does; a bias guides the choice. */
const mixture =
  (tokens: number, k: number, weighs: "output" | "input", dtype: "F32" | "BF16"): Graph =>
  <N extends Node>(op: Ops<N>, put: (w: ReturnType<typeof weight>) => N) => {
    const [D, F, E] = [10, 7, 12];
    const x_TD = op.map("tanh", put(calm([tokens, D], 40)));
    const [w1_EFD, w2_EDF] = [put(weight([E, F, D], 41, dtype)), put(weight([E, D, F], 42, dtype))];
    const routing = {
      name: "layers.0",
      logits_TE: op.linear(x_TD, put(calm([E, D], 43))),
      bias_E: put(calm([E], 44, 0.1)),
      router: {
        k,
        select: (logits_E: Float64Array, bias_E: Float64Array | null) =>
          softmax(logits_E).map((score, e) => score + bias_E![e]!),
        weigh: (logits_E: Float64Array, experts: readonly number[]) => {
          const scores = softmax(logits_E);
          return experts.map((e) => scores[e]!);
        },
      },
      weighs,
    };
    return op.mixture(x_TD, routing, (x_nD, e) => {
      const h_nF = op.linear(x_nD, op.reshape(op.slice(w1_EFD, 0, e, e + 1), [F, D]));
      return op.linear(op.map("silu", h_nF), op.reshape(op.slice(w2_EDF, 0, e, e + 1), [D, F]));
    });
  };

const deltaRule =
  (tokens: number, [keyHeads, heads, channels, columns]: readonly [number, number, number, number]): Graph =>
  (op, put) => {
    const unit = (seed: number) =>
      op.affine(op.rmsNorm(put(calm([tokens, keyHeads, channels], seed)), null, 1e-6), channels ** -0.5);
    const decay = op.affine(op.map("softplus", put(calm([tokens, heads], 52))), -1);
    const beta = op.map("sigmoid", put(calm([tokens, heads], 53)));
    return op.deltaRule(unit(50), unit(51), put(weight([tokens, heads, columns], 54)), decay, beta);
  };

/** Rows, inputs, outputs: none, some and all of them whole tiles. */
const PRODUCTS = [
  [1, 1, 1],
  [1, 54, 263],
  [7, 44, 33],
  [17, 75, 31],
  [33, 8, 32],
  [40, 256, 129],
  [16, 1024, 64],
] as const;

const linear =
  ([rows, inputs, outputs]: readonly [number, number, number], dtype: "F32" | "BF16", hasBias: boolean): Graph =>
  (op, put) => {
    const bias = hasBias ? put(weight([outputs], 3, dtype)) : undefined;
    return op.linear(put(weight([rows, inputs], 1)), put(weight([outputs, inputs], 2, dtype)), bias);
  };

/** Whose weight and bias are results themselves. */
const linearOfResults =
  (inputs: number): Graph =>
  (op, put) => {
    const [w, bias] = [op.map("silu", put(weight([50, inputs], 2))), op.map("silu", put(weight([50], 3)))];
    return op.linear(put(weight([9, inputs], 1)), w, bias);
  };

/** Of element types that are rounded to f32: F16 with subnormals, and F64. */
const ROUNDED = [
  bytesAsWeight(
    Uint16Array.from({ length: 12 * 20 }, (_, i) => [0x3c00, 0x0001, 0x83ff, 0x7bff, 0xc123, 0][i % 6]!),
    [12, 20],
    "F16",
  ),
  bytesAsWeight(
    Float64Array.from(normal(240, 4), (x) => x + 1e-12),
    [12, 20],
    "F64",
  ),
];

export const opCases: readonly OpCase[] = [
  ...PRODUCTS.flatMap((sizes) =>
    (["F32", "BF16"] as const).flatMap((dtype) =>
      [false, true].map((hasBias) => ({
        name: `linear ${sizes.join(" × ")}, ${dtype}${hasBias ? ", bias" : ""}`,
        graph: linear(sizes, dtype, hasBias),
        tolerance: 2e-6,
      })),
    ),
  ),
  ...[40, 37].map((inputs) => ({
    name: `linear with weight and bias that were computed, of ${inputs}`,
    graph: linearOfResults(inputs),
    tolerance: 2e-6,
  })),
  ...ROUNDED.flatMap((stored): OpCase[] => [
    {
      name: `linear, ${stored.dtype}`,
      graph: (op, put) => op.linear(put(weight([3, 20], 5)), put(stored)),
      tolerance: 2e-6,
    },
    { name: `add, ${stored.dtype}`, graph: (op, put) => op.add(put(stored), put(stored)), tolerance: 1e-7 },
  ]),
  ...POINTWISE.map((f) => ({
    name: f,
    graph: ((op, put) => op.map(f, put(calm([70_001], 13, f === "exp" ? 1 : 4)))) as Graph,
    tolerance: 4e-7,
  })),
  { name: "affine", graph: (op, put) => op.affine(put(weight([65, 3], 1)), -2.5, 0.75), tolerance: 1e-7 },
  { name: "clamp", graph: (op, put) => op.clamp(put(weight([65, 3], 1)), -0.5, 7), tolerance: 0 },
  { name: "constant", graph: (op) => op.constant(normal(70_003, 5), [70_003]), tolerance: 0 },
  ...[
    [1, 1],
    [5, 54],
    [7, 257],
    [2, 4099],
  ].map(([rows, channels]) => ({
    name: `layerNorm of ${rows} rows of ${channels}`,
    graph: ((op, put) =>
      op.layerNorm(
        op.affine(put(calm([rows!, channels!], 9)), 1, 20),
        put(weight([channels!], 10)),
        put(weight([channels!], 11)),
        1e-5,
      )) as Graph,
    tolerance: 3e-6,
  })),
  {
    name: "rmsNorm without weight",
    graph: (op, put) => op.rmsNorm(put(weight([9, 4, 11], 2)), null, 1e-5),
    tolerance: 5e-7,
  },
  {
    name: "mul of a vector",
    graph: (op, put) => op.mul(put(weight([5, 3, 7], 1)), put(weight([7], 2))),
    tolerance: 1e-7,
  },
  {
    name: "mul of a column",
    graph: (op, put) => op.mul(put(weight([5, 3, 7], 1)), put(weight([5, 1, 1], 2))),
    tolerance: 1e-7,
  },
  {
    name: "add of a middle axis",
    graph: (op, put) => op.add(put(weight([5, 3, 7], 1)), put(weight([3, 1], 2))),
    tolerance: 1e-7,
  },
  {
    name: "concat of rows",
    graph: (op, put) => op.concat([put(weight([3, 5], 1)), put(weight([1, 5], 2)), put(weight([4, 5], 3))], 0),
    tolerance: 0,
  },
  {
    name: "concat of a middle axis",
    graph: (op, put) => op.concat([put(weight([4, 3, 5], 1)), put(weight([4, 1, 5], 2))], 1),
    tolerance: 0,
  },
  { name: "permute", graph: (op, put) => op.permute(put(weight([4, 3, 5, 2], 1)), [2, 0, 3, 1]), tolerance: 0 },
  {
    name: "permute of a part of a weight",
    graph: (op, put) => op.permute(op.slice(put(weight([4, 6, 5], 1, "BF16")), 0, 2, 3), [0, 2, 1]),
    tolerance: 0,
  },
  {
    name: "gather of computed rows",
    graph: (op, put) => op.gather(op.map("tanh", put(calm([5, 6], 1))), [4, 4, 0, 1]),
    tolerance: 4e-7,
  },
  {
    name: "causalConv",
    graph: (op, put) => op.causalConv(put(weight([37, 11], 1)), put(weight([11, 4], 2))),
    tolerance: 3e-7,
  },
  {
    name: "causalConv wider than the text",
    graph: (op, put) => op.causalConv(put(weight([2, 3], 1)), put(weight([3, 4], 2))),
    tolerance: 3e-7,
  },
  ...masks.flatMap(([name, mask]) =>
    ([false, true] as const).map((hasSinks) => ({
      name: `attention, ${name}${hasSinks ? ", sinks" : ""}`,
      graph: attention(mask, hasSinks ? [12, 12] : [10, 6], hasSinks),
      tolerance: 2e-6,
    })),
  ),
  {
    name: "attention, softcap",
    graph: attention({ kind: "window", size: 13 }, [10, 6], false, 1.5),
    tolerance: 2e-6,
  },
  {
    name: "attention, softcap, sinks",
    graph: attention({ kind: "causal" }, [12, 12], true, 0.3),
    tolerance: 2e-6,
  },
  { name: "mixture", graph: mixture(19, 3, "output", "F32"), tolerance: 2e-6 },
  { name: "mixture, bf16, weighing inputs", graph: mixture(40, 2, "input", "BF16"), tolerance: 2e-6 },
  { name: "mixture of one token", graph: mixture(1, 12, "output", "BF16"), tolerance: 2e-6 },
  { name: "deltaRule", graph: deltaRule(70, [2, 6, 12, 20]), tolerance: 2e-6 },
  { name: "deltaRule of wide heads", graph: deltaRule(33, [1, 2, 128, 130]), tolerance: 2e-6 },
  { name: "deltaRule of one token", graph: deltaRule(1, [1, 1, 3, 1]), tolerance: 2e-6 },
];
