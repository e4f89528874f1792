import { describe, expect, test } from "vitest";
import { CpuBackend, type CpuNode } from "../../numerics/cpu/backend.ts";
import type { AttentionMask } from "../../numerics/graph.ts";
import { ropeTable } from "../../numerics/rope.ts";
import { InputError } from "../../src/base/errors.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { asWeight, bytesAsWeight, largestError, randomTensor, recorded, type Tensor } from "../helpers/tensors.ts";

const op = (key: string): Tensor => recorded(`${FIXTURES}numerics/ops.safetensors`, key);

/** Evaluates one graph and reads its result. */
async function run(graph: (b: CpuBackend, put: (tensor: Tensor) => CpuNode) => CpuNode): Promise<Float64Array> {
  const backend = new CpuBackend();
  const node = graph(backend, (tensor) => backend.weight(asWeight(tensor)));
  await backend.evaluate([node]);
  const values = await backend.readback(node);
  await backend.close();
  return values;
}

describe("as torch computes it in f64", () => {
  type Case = [name: string, key: string, (b: CpuBackend, put: (key: string) => CpuNode) => CpuNode];
  const cases: readonly Case[] = [
    ["gather", "gather.out", (b, put) => b.ops.gather(put("gather.table"), [0, 7, 3, 3])],
    ["rmsNorm", "rmsNorm.out", (b, put) => b.ops.rmsNorm(put("rmsNorm.x"), put("rmsNorm.weight"), 1e-5)],
    [
      "rmsNorm of heads",
      "rmsNormHeads.out",
      (b, put) => b.ops.rmsNorm(put("rmsNormHeads.x"), put("rmsNormHeads.weight"), 1e-6),
    ],
    ["linear", "linear.out", (b, put) => b.ops.linear(put("linear.x"), put("linear.weight"))],
    [
      "linear, bias",
      "linear.outBias",
      (b, put) => b.ops.linear(put("linear.x"), put("linear.weight"), put("linear.bias")),
    ],
    ["rope, halves", "rope.half", (b, put) => b.ops.rope(put("rope.x"), TABLE, "half")],
    ["rope, adjacent", "rope.adjacent", (b, put) => b.ops.rope(put("rope.x"), TABLE, "adjacent")],
    ["silu", "silu.out", (b, put) => b.ops.map("silu", put("silu.x"))],
    ["rmsNorm without weight", "rmsNorm.bare", (b, put) => b.ops.rmsNorm(put("layerNorm.x"), null, 1e-5)],
    [
      "layerNorm",
      "layerNorm.out",
      (b, put) => b.ops.layerNorm(put("layerNorm.x"), put("layerNorm.weight"), put("layerNorm.bias"), 1e-6),
    ],
    ...(["sigmoid", "tanh", "exp", "softplus", "gelu", "geluTanh"] as const).map(
      (f): Case => [f, `map.${f}`, (b, put) => b.ops.map(f, put("map.x"))],
    ),
    ["causalConv", "causalConv.out", (b, put) => b.ops.causalConv(put("causalConv.x"), put("causalConv.weight"))],
    [
      "deltaRule",
      "deltaRule.out",
      ({ ops }, put) => {
        const [q, k, v] = [put("deltaRule.q"), put("deltaRule.k"), put("deltaRule.v")];
        return ops.deltaRule(q, k, v, put("deltaRule.decay"), put("deltaRule.beta"));
      },
    ],
    ["attention, sinks", "attention2.sinks", (b, put) => attend2(b, put, { kind: "causal" }, "attention2.sinkLogits")],
    ["attention, chunks", "attention2.chunk", (b, put) => attend2(b, put, { kind: "chunk", size: 5 })],
    [
      "attention, segments",
      "attention2.segments",
      (b, put) => attend2(b, put, { kind: "segments", lengths: [4, 9, 6] }),
    ],
    ["attention", "attention.causal", (b, put) => attend(b, put, { kind: "causal" })],
    ["attention, window", "attention.window", (b, put) => attend(b, put, { kind: "window", size: 4 })],
  ];
  /** θ = 10,000 over ten channels, positions 0 to 5. */
  const TABLE = ropeTable(
    {
      invFreq: Float32Array.from({ length: 5 }, (_, i) => 1 / Math.fround(10_000 ** Math.fround(i / 5))),
      attentionFactor: 1,
    },
    [0, 1, 2, 3, 4, 5],
  );
  const attend = (b: CpuBackend, put: (key: string) => CpuNode, mask: AttentionMask) =>
    b.ops.attention(put("attention.q"), put("attention.k"), put("attention.v"), { scale: 0.37, mask });

  const attend2 = ({ ops }: CpuBackend, put: (key: string) => CpuNode, mask: AttentionMask, sinks?: string) =>
    ops.attention(put("attention2.q"), put("attention2.k"), put("attention2.v"), {
      scale: 0.6,
      mask,
      sinks_N: sinks === undefined ? undefined : put(sinks),
    });

  test.each(cases)("%s", async (name, key, graph) => {
    const found = await run((b, put) => graph(b, (tensor) => put(op(tensor))));
    // The rope table is f32 on both sides; torch's cosine of an f32 is up to one unit in the last place off.
    expect(largestError(found, op(key).values)).toBeLessThan(name.startsWith("rope") ? 1e-6 : 1e-13);
  });
});

/** The definition, one sum a value. */
function naiveLinear(x: Tensor, w: Tensor, bias?: Tensor): Float64Array {
  const [T, I, O] = [x.shape[0]!, x.shape[1]!, w.shape[0]!];
  return Float64Array.from({ length: T * O }, (_, at) => {
    const [t, o] = [Math.floor(at / O), at % O];
    let sum = bias?.values[o] ?? 0;
    for (let i = 0; i < I; i++) sum += x.values[t * I + i]! * w.values[o * I + i]!;
    return sum;
  });
}

describe("linear", () => {
  test.each([
    [1, 1, 1],
    [3, 5, 2],
    [70, 1027, 9],
    [65, 513, 6],
  ])("T %i, I %i, O %i: tiles, edges and blocks", async (T, I, O) => {
    const [x, w, bias] = [randomTensor([T, I], 1), randomTensor([O, I], 2), randomTensor([O], 3)];
    const found = await run((b, put) => b.ops.linear(put(x), put(w), put(bias)));
    expect(largestError(found, naiveLinear(x, w, bias))).toBeLessThan(1e-12);
  });

  test("a weight larger than a window is read in windows, once", async () => {
    const [x, w] = [randomTensor([2, 1024], 4), randomTensor([1500, 1024], 5)];
    const source = asWeight(w);
    const reads: number[] = [];
    const backend = new CpuBackend();
    const y = backend.ops.linear(
      backend.weight(asWeight(x)),
      backend.weight({
        ...source,
        read: (begin, target) => {
          reads.push(target.length);
          source.read(begin, target);
        },
      }),
    );
    await backend.evaluate([y]);
    expect(largestError(await backend.readback(y), naiveLinear(x, w))).toBeLessThan(1e-12);
    expect(reads.reduce((sum, n) => sum + n, 0)).toBe(1500 * 1024 * 8);
    expect(backend.peakBytes).toBeLessThan(1500 * 1024 * 8);
  });
});

test("slice, reshape, mul and add", async () => {
  const x = randomTensor([3, 4, 2], 6);
  const found = await run((b, put) => {
    const part = b.ops.slice(put(x), 1, 1, 3);
    const flat = b.ops.reshape(part, [3, 4]);
    return b.ops.add(b.ops.mul(flat, flat), flat);
  });
  const expected = [0, 1, 2].flatMap((t) => [...x.values.slice(t * 8 + 2, t * 8 + 6)].map((v) => v * v + v));
  expect([...found]).toEqual(expected);
});

test("half and bfloat16 weights are decoded exactly, infinities and subnormals included", async () => {
  const f16 = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x8001, 0x03ff, 0x7bff, 0x7c00, 0xfc00, 0x7e00);
  const bf16 = Uint16Array.of(0x3f80, 0xc000, 0x0001, 0x8001, 0x7f80, 0xff80, 0x7fc0, 0x4049, 0x0080);
  const decode = (stored: Uint16Array, dtype: "F16" | "BF16") =>
    run((b) => b.ops.reshape(b.weight(bytesAsWeight(stored, [9], dtype)), [3, 3]));
  expect([...(await decode(f16, "F16"))]).toEqual([
    1,
    -2,
    2 ** -24,
    -(2 ** -24),
    1023 * 2 ** -24,
    65504,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.NaN,
  ]);
  expect([...(await decode(bf16, "BF16"))]).toEqual([
    1,
    -2,
    2 ** -133,
    -(2 ** -133),
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.NaN,
    3.140625,
    2 ** -126,
  ]);
});

describe("nodes", () => {
  test("are freed unless kept, and refuse further use", async () => {
    const backend = new CpuBackend();
    const x = backend.weight(asWeight(randomTensor([2, 3], 7)));
    const kept = backend.ops.map("silu", x);
    const lost = backend.ops.map("silu", kept);
    await backend.evaluate([kept]);
    await expect(backend.readback(lost)).rejects.toThrow("freed");
    expect(() => backend.ops.map("silu", lost)).toThrow("freed");
    expect(() => backend.ops.map("silu", x)).toThrow("freed");
    const next = backend.ops.map("silu", kept);
    await backend.evaluate([next]);
    expect((await backend.readback(next)).length).toBe(6);
  });

  test("a reshape keeps its values when what it was made from is freed", async () => {
    const backend = new CpuBackend();
    const values = randomTensor([2, 3], 8);
    const doubled = backend.ops.add(backend.weight(asWeight(values)), backend.weight(asWeight(values)));
    const reshaped = backend.ops.reshape(doubled, [3, 2]);
    await backend.evaluate([reshaped]);
    const other = backend.ops.map("silu", reshaped);
    await backend.evaluate([reshaped, other]);
    expect([...(await backend.readback(reshaped))]).toEqual([...values.values].map((v) => 2 * v));
  });

  test("memory in use does not grow with the number of layers", async () => {
    const peak = async (layers: number) => {
      const backend = new CpuBackend();
      let x = backend.ops.map("silu", backend.weight(asWeight(randomTensor([64, 64], 9))));
      await backend.evaluate([x]);
      for (let i = 0; i < layers; i++) {
        x = backend.ops.add(x, backend.ops.linear(x, backend.weight(asWeight(randomTensor([64, 64], i, 0.1)))));
        await backend.evaluate([x]);
      }
      return backend.peakBytes;
    };
    expect(await peak(12)).toBe(await peak(2));
  });
});

describe("refused, naming the weight", () => {
  const shape = (x: readonly number[], w: readonly number[]) => {
    const backend = new CpuBackend();
    const input = backend.ops.map("silu", backend.weight(asWeight(randomTensor(x, 1))));
    return () => backend.ops.linear(input, backend.weight(asWeight(randomTensor(w, 2), "layers.0.wo.weight")));
  };

  test("a matrix of the wrong width", () => {
    expect(shape([2, 5], [4, 6])).toThrow(
      expect.objectContaining({
        code: "SHAPE_MISMATCH",
        message: 'linear: "layers.0.wo.weight" has shape [4, 6], expected [outputs, 5]',
      }),
    );
  });

  test("an id without a row", () => {
    const backend = new CpuBackend();
    const table = backend.weight(asWeight(randomTensor([4, 2], 1), "tok_embeddings.weight"));
    expect(() => backend.ops.gather(table, [0, 3, 4])).toThrow(
      expect.objectContaining({
        code: "ID_OUT_OF_RANGE",
        message: "token id 4 at position 2 has no row in the embedding",
      }),
    );
  });

  test("a dtype that holds no weights", async () => {
    const backend = new CpuBackend();
    const w = backend.weight({ ...asWeight(randomTensor([2, 2], 1), "counts"), dtype: "I64" });
    backend.ops.map("silu", w);
    await expect(backend.evaluate([])).rejects.toThrow(InputError);
  });
});
