import { afterAll, beforeAll, expect, it } from "vitest";
import type { Backend } from "../../../numerics/backend.ts";
import type { AttentionMask } from "../../../numerics/graph.ts";
import { createWebGpuBackend } from "../../../numerics/webgpu/backend.ts";
import type { GpuNode } from "../../../numerics/webgpu/node.ts";
import type { InputError } from "../../../src/base/errors.ts";
import { describeGpu } from "../../helpers/gpu.ts";
import { bytesAsWeight } from "../../helpers/tensors.ts";
import { errorOf, normal, toBf16, values, weight } from "../harness.ts";
import { opCases } from "../op-cases.ts";

describeGpu("each op against the f64 reference", () => {
  let backend: Backend<GpuNode>;
  beforeAll(async () => {
    backend = await createWebGpuBackend();
  });
  afterAll(() => backend.close());

  it.each(opCases.map((opCase) => [opCase.name, opCase] as const))("%s", async (_, { graph, tolerance }) => {
    expect(await errorOf(backend, graph)).toBeLessThanOrEqual(tolerance);
  });

  it.each([
    [1, 1, 1, 10, 10, 0],
    [19, 4, 2, 12, 12, 0],
    [37, 6, 3, 14, 14, 5],
    [33, 2, 1, 20, 20, 0],
    [41, 4, 4, 24, 24, 16],
    [50, 4, 2, 64, 64, 0],
    [23, 2, 1, 54, 54, 1],
    [29, 2, 2, 80, 80, 0],
    [66, 2, 1, 128, 128, 40],
    [20, 2, 1, 256, 256, 0],
    [25, 2, 1, 24, 16, 0],
  ])("attention of %i tokens, %i/%i heads of %i and %i channels, window %d", async (...sizes) => {
    const [tokens, heads, kvHeads, channels, valueChannels, size] = sizes;
    const q = weight([tokens, heads, channels], 6);
    const k = weight([tokens, kvHeads, channels], 7);
    const v = weight([tokens, kvHeads, valueChannels], 8);
    const mask: AttentionMask = size === 0 ? { kind: "causal" } : { kind: "window", size };
    const options = { scale: 0.9 / Math.sqrt(channels), mask };
    // Outliers make scores of hundreds, whose rounding alone moves a probability by 1e-5.
    const error = errorOf(backend, (op, put) => op.attention(put(q), put(k), put(v), options));
    expect(await error).toBeLessThan(2e-5);
  });

  it.each([
    [1, 1],
    [5, 54],
    [3, 64],
    [7, 257],
    [2, 4099],
  ])("rmsNorm of %i rows of %i", async (rows, channels) => {
    const [x, w] = [weight([rows, channels], 9), weight([channels], 10, "BF16")];
    expect(await errorOf(backend, (op, put) => op.rmsNorm(put(x), put(w), 1e-5))).toBeLessThan(5e-7);
    expect(await errorOf(backend, (op, put) => op.rmsNorm(put(x), op.add(put(w), put(w)), 1e-5))).toBeLessThan(5e-7);
  });

  it("rmsNorm of more rows than a grid has in one dimension", async () => {
    const [x, w] = [weight([70_000, 3], 9), weight([3], 10)];
    expect(await errorOf(backend, (op, put) => op.rmsNorm(put(x), put(w), 1e-5))).toBeLessThan(5e-7);
  });

  it.each([
    ["adjacent", 5, 3, 10, 5],
    ["half", 5, 3, 10, 5],
    ["adjacent", 4, 2, 14, 3],
    ["half", 4, 2, 14, 3],
  ] as const)("rope %s of %i tokens, %i heads of %i, %i pairs", async (pairs, tokens, heads, channels, count) => {
    const x = weight([tokens, heads, channels], 11);
    const angles = normal(tokens * count, 12);
    const table = { tokens, pairs: count, cos: angles.map(Math.cos), sin: angles.map(Math.sin) };
    expect(await errorOf(backend, (op, put) => op.rope(put(x), table, pairs))).toBeLessThan(2e-7);
  });

  it("silu, mul and add, far from zero too", async () => {
    const count = 70_001;
    const a = normal(count, 13, 7);
    const b = weight([count], 14);
    a.set([0, -0, 88, -88, -104, 1e30, -1e30]);
    const x = bytesAsWeight(a, [count], "F32");
    const silu = await values(backend, (op, put) => op.map("silu", put(x)));
    expect([...silu.subarray(0, 3), silu[5], silu[6]]).toEqual([0, -0, 88, Math.fround(1e30), -0]);
    const moderate = bytesAsWeight(normal(count, 13, 7), [count], "F32");
    expect(await errorOf(backend, (op, put) => op.map("silu", put(moderate)))).toBeLessThan(2e-7);
    expect(await errorOf(backend, (op, put) => op.mul(put(moderate), put(b)))).toBeLessThan(1e-7);
    expect(await errorOf(backend, (op, put) => op.add(put(moderate), put(b)))).toBeLessThan(1e-7);
  });

  it("slice of each axis and reshape, of weights and of activations", async () => {
    const [x, zero] = [weight([3, 5, 7], 15), bytesAsWeight(new Float32Array(105), [3, 5, 7], "F32")];
    const ranges = [
      [0, 1, 3],
      [1, 2, 3],
      [2, 3, 7],
    ] as const;
    for (const [axis, begin, end] of ranges) {
      expect(await errorOf(backend, (op, put) => op.slice(put(x), axis, begin, end))).toBe(0);
      expect(await errorOf(backend, (op, put) => op.slice(op.add(put(x), put(zero)), axis, begin, end))).toBe(0);
    }
    expect(await errorOf(backend, (op, put) => op.slice(op.slice(put(x), 0, 2, 3), 1, 1, 4))).toBe(0);
    expect(await errorOf(backend, (op, put) => op.slice(op.reshape(put(x), [15, 7]), 0, 4, 6))).toBe(0);
    expect(await errorOf(backend, (op, put) => op.reshape(op.add(put(x), put(zero)), [7, 15]))).toBe(0);
  });

  it("gather reads only the rows it needs", async () => {
    const stored = weight([1000, 11], 16, "BF16");
    let bytes = 0;
    const read = (begin: number, target: Uint8Array) => {
      bytes += target.length;
      stored.read(begin, target);
    };
    const ids = [999, 0, 5, 5, 77];
    const table = backend.weight({ ...stored, read });
    const node = backend.ops.gather(table, ids);
    expect(bytes).toBe(0);
    await backend.evaluate([node]);
    expect(bytes).toBe(ids.length * 22);
    expect(await errorOf(backend, (op, put) => op.gather(put(stored), ids))).toBe(0);
    expect(await errorOf(backend, (op, put) => op.gather(op.add(put(stored), put(stored)), ids))).toBe(0);
  });

  it("NaN and infinity come through", async () => {
    const x = bytesAsWeight(Float32Array.of(1, Number.NaN, Number.POSITIVE_INFINITY, 2), [4, 1], "F32");
    const w = bytesAsWeight(toBf16(Float32Array.of(2)), [1, 1], "BF16");
    const y = await values(backend, (op, put) => op.linear(put(x), put(w)));
    expect([...y]).toEqual([2, Number.NaN, Number.POSITIVE_INFINITY, 4]);
    expect([...(await values(backend, (op, put) => op.map("silu", put(x))))][1]).toBeNaN();
    // A key that is NaN spoils every query that sees it, and no other.
    const keys = weight([4, 1, 10], 6);
    const stored = new Float32Array(40).fill(0.5);
    stored[20] = Number.NaN;
    const k = bytesAsWeight(stored, [4, 1, 10], "F32");
    const options = { scale: 1, mask: { kind: "causal" } } as const;
    const attended = await values(backend, (op, put) => op.attention(put(keys), put(k), put(keys), options));
    expect(Array.from(attended, Number.isNaN)).toEqual(Array.from({ length: 40 }, (_, i) => i >= 20));
  });

  it("refuses shapes and dtypes at once, naming the tensor", () => {
    const w = backend.weight(weight([5, 4], 1, "F32", "model.w"));
    expect(() => backend.ops.linear(backend.weight(weight([2, 3], 1)), w)).toThrow(/"model.w" has shape \[5, 4\]/);
    expect(() => backend.weight({ ...weight([4], 1), dtype: "F8_E4M3" })).toThrow(
      expect.objectContaining<Partial<InputError>>({ code: "DTYPE_NOT_COMPUTABLE" }),
    );
  });
});
