import { afterAll, beforeAll, expect, it } from "vitest";
import type { Backend } from "../../../numerics/backend.ts";
import { createWebGpuBackend } from "../../../numerics/webgpu/backend.ts";
import type { GpuNode } from "../../../numerics/webgpu/node.ts";
import { describeGpu } from "../../helpers/gpu.ts";
import * as reference from "./reference.ts";
import { fromBf16, memorySource, normal, toBf16 } from "./sources.ts";

describeGpu("ops against f64", () => {
  let backend: Backend<GpuNode>;
  beforeAll(async () => {
    backend = await createWebGpuBackend();
  });
  afterAll(() => backend.close());

  const f32 = (shape: readonly number[], values: Float32Array) =>
    backend.weight(memorySource("w", "F32", shape, values));
  const bf16 = (shape: readonly number[], values: Float32Array) =>
    backend.weight(memorySource("w", "BF16", shape, toBf16(values)));

  async function run(node: GpuNode): Promise<Float32Array> {
    await backend.evaluate([node]);
    const values = await backend.readback(node);
    expect(values).toBeInstanceOf(Float32Array);
    return Float32Array.from(values);
  }

  it.each([
    [1, 1, 1],
    [1, 54, 263],
    [7, 44, 33],
    [17, 75, 31],
    [33, 8, 32],
    [40, 256, 129],
    [16, 1024, 64],
  ])("linear of %i rows, %i inputs, %i outputs", async (rows, inputs, outputs) => {
    const x = normal(rows * inputs, 1, 97);
    const w = normal(outputs * inputs, 2, 89);
    const b = normal(outputs, 3);
    const rounded = fromBf16(toBf16(w));
    for (const bias of [undefined, b]) {
      const biasNode = bias && f32([outputs], bias);
      const y = await run(backend.ops.linear(f32([rows, inputs], x), f32([outputs, inputs], w), biasNode));
      expect(reference.relativeRms(y, reference.linear(x, w, bias, rows, inputs))).toBeLessThan(2e-6);
      const z = await run(backend.ops.linear(f32([rows, inputs], x), bf16([outputs, inputs], w), biasNode));
      expect(reference.relativeRms(z, reference.linear(x, rounded, bias, rows, inputs))).toBeLessThan(2e-6);
    }
  });

  it.each([
    [1, 1, 1, 10, 10, Infinity],
    [19, 4, 2, 12, 12, Infinity],
    [37, 6, 3, 14, 14, 5],
    [33, 2, 1, 20, 20, Infinity],
    [41, 4, 4, 24, 24, 16],
    [50, 4, 2, 64, 64, Infinity],
    [23, 2, 1, 54, 54, 1],
    [29, 2, 2, 80, 80, Infinity],
    [66, 2, 1, 128, 128, 40],
    [20, 2, 1, 256, 256, Infinity],
    [25, 2, 1, 24, 16, Infinity],
  ])("attention of %i tokens, %i/%i heads of %i and %i channels, window %d", async (...sizes) => {
    const [tokens, heads, kvHeads, channels, valueChannels, window] = sizes;
    const q = normal(tokens * heads * channels, 4, 31);
    const k = normal(tokens * kvHeads * channels, 5);
    const v = normal(tokens * kvHeads * valueChannels, 6, 37);
    const scale = 1 / Math.sqrt(channels);
    const mask = window === Infinity ? ({ kind: "causal" } as const) : ({ kind: "window", size: window } as const);
    const nodes = [
      f32([tokens, heads, channels], q),
      f32([tokens, kvHeads, channels], k),
      f32([tokens, kvHeads, valueChannels], v),
    ] as const;
    const y = await run(backend.ops.attention(...nodes, { scale, mask }));
    const want = reference.attention(q, k, v, { tokens, heads, kvHeads, channels, valueChannels, scale, window });
    expect(reference.relativeRms(y, want)).toBeLessThan(5e-6);
  });

  it.each([
    [1, 1],
    [5, 54],
    [3, 64],
    [7, 257],
    [2, 4099],
  ])("rmsNorm of %i rows of %i", async (rows, channels) => {
    const x = normal(rows * channels, 7, 50);
    const w = normal(channels, 8);
    const y = await run(backend.ops.rmsNorm(f32([rows, channels], x), bf16([channels], w), 1e-5));
    expect(reference.relativeRms(y, reference.rmsNorm(x, fromBf16(toBf16(w)), 1e-5))).toBeLessThan(5e-7);
  });

  it.each([
    ["adjacent", 5, 3, 10, 5],
    ["half", 5, 3, 10, 5],
    ["adjacent", 4, 2, 14, 3],
    ["half", 4, 2, 14, 3],
  ] as const)("rope %s of %i tokens, %i heads of %i, %i pairs", async (pairs, tokens, heads, channels, count) => {
    const x = normal(tokens * heads * channels, 9);
    const angles = normal(tokens * count, 10);
    const table = { tokens, pairs: count, cos: angles.map(Math.cos), sin: angles.map(Math.sin) };
    const y = await run(backend.ops.rope(f32([tokens, heads, channels], x), table, pairs));
    expect(reference.relativeRms(y, reference.rope(x, heads, channels, table, pairs === "half"))).toBeLessThan(2e-7);
  });

  it("silu, mul and add, far from zero too", async () => {
    const count = 70_001;
    const a = normal(count, 11, 7);
    const b = normal(count, 12, 5);
    a.set([0, -0, 88, -88, -104, 1e30, -1e30]);
    const [x, y] = [f32([count], a), f32([count], b)];
    const silu = await run(backend.ops.silu(x));
    expect(
      reference.relativeRms(
        silu,
        a.map((v) => v / (1 + Math.exp(-v))),
      ),
    ).toBeLessThan(1e-6);
    expect(Math.max(...silu.subarray(0, 5).map(Math.abs))).toBe(88);
    expect(silu[6]).toBeCloseTo(0);
    expect(await run(backend.ops.mul(x, y))).toEqual(a.map((v, i) => v * b[i]!));
    expect(await run(backend.ops.add(x, y))).toEqual(a.map((v, i) => v + b[i]!));
  });

  it("slice of each axis, of weights and of activations; reshape", async () => {
    const values = normal(3 * 5 * 7, 13);
    const weight = f32([3, 5, 7], values);
    const x = backend.ops.add(weight, f32([3, 5, 7], new Float32Array(105)));
    const at = (i: number, j: number, k: number) => values[(i * 5 + j) * 7 + k]!;
    for (const node of [weight, x]) {
      const nodes = [
        backend.ops.slice(node, 0, 1, 3),
        backend.ops.slice(node, 1, 2, 3),
        backend.ops.slice(node, 2, 3, 7),
      ];
      const rows = backend.ops.slice(backend.ops.slice(node, 0, 2, 3), 1, 1, 4);
      const flat = backend.ops.reshape(rows, [21]);
      await backend.evaluate([...nodes, flat, x]);
      const got = await Promise.all([]).then(async () => {
        const out: number[][] = [];
        for (const n of [...nodes, flat]) out.push([...(await backend.readback(n))]);
        return out;
      });
      const indices = (n: number, begin = 0) => Array.from({ length: n }, (_, i) => begin + i);
      expect(got[0]).toEqual(
        indices(2, 1).flatMap((i) => indices(5).flatMap((j) => indices(7).map((k) => at(i, j, k)))),
      );
      expect(got[1]).toEqual(indices(3).flatMap((i) => indices(7).map((k) => at(i, 2, k))));
      expect(got[2]).toEqual(
        indices(3).flatMap((i) => indices(5).flatMap((j) => indices(4, 3).map((k) => at(i, j, k)))),
      );
      expect(got[3]).toEqual(indices(3, 1).flatMap((j) => indices(7).map((k) => at(2, j, k))));
    }
  });

  it("gather reads only the rows it needs, from weights and from activations", async () => {
    const values = normal(1000 * 11, 14);
    const source = memorySource("table", "BF16", [1000, 11], toBf16(values));
    const exact = fromBf16(toBf16(values));
    const ids = [999, 0, 5, 5, 77];
    const want = Float32Array.from(ids.flatMap((id) => [...exact.subarray(11 * id, 11 * id + 11)]));
    const table = backend.weight(source);
    expect(await run(backend.ops.gather(table, ids))).toEqual(want);
    expect(source.bytesRead()).toBe(ids.length * 22);
    expect(
      await run(backend.ops.gather(backend.ops.mul(table, f32([1000, 11], new Float32Array(11000).fill(1))), ids)),
    ).toEqual(want);
  });
});
