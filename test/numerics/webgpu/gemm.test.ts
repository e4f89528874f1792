import { afterEach, expect, it } from "vitest";
import type { Backend } from "../../../numerics/backend.ts";
import { SHORT_CHAIN } from "../../../numerics/graph.ts";
import { createWebGpuBackend, type WebGpuOptions } from "../../../numerics/webgpu/backend.ts";
import { Device } from "../../../numerics/webgpu/device/device.ts";
import { Pipelines } from "../../../numerics/webgpu/kernel.ts";
import { subgroupAttention } from "../../../numerics/webgpu/kernels/attention.ts";
import { chainDepth, subgroupGemm } from "../../../numerics/webgpu/kernels/gemm-subgroup.ts";
import { tileFor, tileGemm } from "../../../numerics/webgpu/kernels/gemm-tile.ts";
import type { GpuNode } from "../../../numerics/webgpu/node.ts";
import { describeGpu } from "../../helpers/gpu.ts";
import { largestError } from "../../helpers/tensors.ts";
import { chains, floats } from "../chains.ts";
import { errorOf, values, weight } from "../harness.ts";
import { opCases } from "../op-cases.ts";

describeGpu("matrix products", () => {
  let backend: Backend<GpuNode> | undefined;
  afterEach(() => backend?.close());
  const open = async (options: WebGpuOptions = {}) => {
    await backend?.close();
    backend = await createWebGpuBackend(options);
    return backend;
  };

  it("subgroup kernels make the same bits as plain multiply and add, where nothing contracts to FMA", async () => {
    const b = await open();
    for (const [rows, inputs, outputs] of [
      [19, 84, 70],
      [70, 600, 96],
    ] as const) {
      const [x, w] = [weight([rows, inputs], 1), weight([outputs, inputs], 2)];
      const found = await values(b, (op, put) => op.linear(put(x), put(w)));
      const expected = chains(floats(x), floats(w), inputs, chainDepth);
      if (b.adapter?.includes("llvmpipe")) expect(found).toEqual(expected);
      else expect(largestError(found, expected)).toBeLessThan(1e-3);
    }
  });

  it("and in short chains, where another order is asked for", async () => {
    const b = await open();
    const [x, w] = [weight([19, 84], 1), weight([70, 84], 2)];
    const short = await values(b, (op, put) => op.linear(put(x), put(w), undefined, "short"));
    const usual = await values(b, (op, put) => op.linear(put(x), put(w)));
    expect(short).not.toEqual(usual);
    const expected = chains(floats(x), floats(w), 84, SHORT_CHAIN);
    if (b.adapter?.includes("llvmpipe")) expect(short).toEqual(expected);
    else expect(largestError(short, expected)).toBeLessThan(1e-3);
  });

  it("32 rows a subgroup, the kernel of large f32 products", async () => {
    const b = await open();
    const [x, w] = [weight([131, 1024], 3), weight([1024, 1024], 4)];
    expect(await errorOf(b, (op, put) => op.linear(put(x), put(w)))).toBeLessThan(2e-6);
  });

  it.each(["F32", "BF16"] as const)("the same bits of %s, whatever the windows", async (dtype) => {
    const [x, w, bias] = [weight([130, 44], 5), weight([263, 44], 6, dtype), weight([263], 7)];
    const [x2, w2] = [weight([300, 64], 8), weight([264, 64], 9)];
    const run = async (options: WebGpuOptions) => {
      const b = await open(options);
      return [
        await values(b, (op, put) => op.map("silu", op.linear(put(x), put(w), put(bias)))),
        await values(b, (op, put) => op.linear(op.map("silu", put(x2)), op.map("silu", put(w2)))),
      ];
    };
    const whole = await run({});
    // 4 kB hold 20 to 42 rows of the first weight, 1 byte none: one row at a time. Of 70 kB, kernels see 64 rows of the
    // first result, 4 × 263 bytes each, as fewer are not aligned; and parts of all operands of the second product.
    expect(await run({ windowBytes: 4096 })).toEqual(whole);
    expect(await run({ windowBytes: 1 })).toEqual(whole);
    expect(await run({ windowBytes: 10_000, bindingBytes: 70_000 })).toEqual(whole);
  });

  it("an activation that no kernel can see whole is refused by name of what to do", async () => {
    const b = await open({ bindingBytes: 1024 });
    const x = b.ops.map("silu", b.weight(weight([100, 10], 1)));
    const y = b.ops.rmsNorm(x, b.weight(weight([10], 2)), 1e-5);
    await expect(b.evaluate([y])).rejects.toMatchObject({ code: "GPU_TENSOR_TOO_LARGE", exitCode: 4 });
  });

  it("tile kernels, which real GPUs run, at a tile that a software adapter compiles in good time", async () => {
    const gemmTile = { tile: [16, 16, 8], block: [4, 4] } as const;
    const b = await open({ traits: { family: "tile", gemmTile } });
    for (const [rows, inputs, outputs] of [
      [1, 3, 5],
      [37, 75, 50],
      [16, 1100, 16],
    ] as const) {
      for (const dtype of ["F32", "BF16"] as const) {
        const [x, w, bias] = [weight([rows, inputs], 1), weight([outputs, inputs], 2, dtype), weight([outputs], 3)];
        expect(await errorOf(b, (op, put) => op.linear(put(x), put(w)))).toBeLessThan(2e-6);
        expect(await errorOf(b, (op, put) => op.linear(put(x), put(w), put(bias)))).toBeLessThan(2e-6);
      }
    }
    const [x, gain] = [weight([7, 257], 7), weight([257], 8)];
    expect(await errorOf(b, (op, put) => op.rmsNorm(put(x), put(gain), 1e-5))).toBeLessThan(5e-7);
    for (const { name, graph, tolerance } of opCases.filter((c) => /attention|Norm|deltaRule/.test(c.name))) {
      expect(await errorOf(b, graph), name).toBeLessThanOrEqual(tolerance);
    }
  });

  it("kernels for other widths of subgroups and for real GPUs are valid WGSL", async () => {
    const device = await Device.open();
    const options = [
      { packing: "f32", hasBias: false, summation: "usual" },
      { packing: "bf16", hasBias: true, summation: "short" },
    ] as const;
    const kernels = [
      ...[4, 16, 32, 64].flatMap((subgroupSize) => [
        ...options.map((o) => subgroupGemm({ ...o, subgroupSize, tileRows: 16 })),
        subgroupAttention({ channels: [128, 128], hasSinks: false }, subgroupSize),
        subgroupAttention({ channels: [10, 6], hasSinks: true }, subgroupSize),
      ]),
      ...[256, 1024].flatMap((rows) => options.map((o) => tileGemm({ ...o, ...tileFor(rows, 32768) }))),
    ];
    await expect(new Pipelines(device).prepare(kernels)).resolves.toBeUndefined();
    device.close();
  });
});
