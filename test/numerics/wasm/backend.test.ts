import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { SHORT_CHAIN, type Summation } from "../../../numerics/graph.ts";
import { WasmBackend } from "../../../numerics/wasm/backend.ts";
import { CHAIN } from "../../../numerics/wasm/jobs.ts";
import { WIDEN_KERNEL } from "../../../numerics/wasm/simd-kernels.ts";
import { Threads } from "../../../numerics/wasm/threads.ts";
import { createWebGpuBackend } from "../../../numerics/webgpu/backend.ts";
import { file, simdKernels, source } from "../../../scripts/simd-kernels.mjs";
import { describeGpu } from "../../helpers/gpu.ts";
import { bytesAsWeight } from "../../helpers/tensors.ts";
import { chains, floats } from "../chains.ts";
import { broken, errorOf, values, watched, weight } from "../harness.ts";
import { opCases } from "../op-cases.ts";

/** Rows, inputs, outputs: none, some and all of them whole tiles, panels and chains; the last two go to threads. */
const SIZES = [
  [1, 1, 1],
  [1, 54, 263],
  [7, 44, 33],
  [6, 8, 8],
  [19, 84, 70],
  [40, 256, 129],
  [13, 600, 96],
  [70, 600, 200],
  [130, 1031, 77],
] as const;

describe("each op against the f64 reference", () => {
  const backend = new WasmBackend();
  afterAll(() => backend.close());

  it.each(opCases.map((opCase) => [opCase.name, opCase] as const))("%s", async (_, { graph, tolerance }) => {
    expect(await errorOf(backend, graph)).toBeLessThanOrEqual(tolerance);
  });

  it("attention of more heads, tokens and channels than a block, in threads", async () => {
    const [q, k, v] = [weight([131, 6, 20], 1), weight([131, 2, 20], 2), weight([131, 2, 12], 3)];
    for (const mask of [
      { kind: "causal" },
      { kind: "window", size: 50 },
      { kind: "segments", lengths: [60, 71] },
    ] as const)
      expect(
        await errorOf(backend, (op, put) => op.attention(put(q), put(k), put(v), { scale: 0.05, mask })),
        mask.kind,
      ).toBeLessThan(2e-6);
  });
});

describe.each([1, 2, 3])("bits with %i threads", (threads) => {
  const backend = new WasmBackend({ threads });
  afterAll(() => backend.close());

  it.each(SIZES)(
    "linear of %i rows, %i inputs, %i outputs: chains of multiply and add",
    async (rows, inputs, outputs) => {
      for (const [dtype, summation] of [
        ["F32", "usual"],
        ["BF16", "usual"],
        ["F32", "short"],
      ] as const) {
        const [x, w] = [weight([rows, inputs], 1), weight([outputs, inputs], 2, dtype)];
        const found = await values(backend, (op, put) => op.linear(put(x), put(w), undefined, summation));
        expect(found).toEqual(chains(floats(x), floats(w), inputs, chainOf(summation)));
      }
    },
  );

  it("another depth of chains makes other bits", async () => {
    const [x, w] = [weight([19, 600], 1), weight([70, 600], 2)];
    const found = await values(backend, (op, put) => op.linear(put(x), put(w)));
    expect(found).not.toEqual(chains(floats(x), floats(w), 600, CHAIN / 2));
  });

  it("a NaN stays in its row of the weight and its row of x", async () => {
    const [x, w] = [floats(weight([9, 37], 1)), floats(weight([20, 37], 2))];
    x[2 * 37 + 36] = Number.NaN;
    w[11 * 37] = Number.NaN;
    const found = await values(backend, (op, put) =>
      op.linear(put(bytesAsWeight(x, [9, 37], "F32")), put(bytesAsWeight(w, [20, 37], "F32"))),
    );
    for (const [i, y] of found.entries()) expect(Number.isNaN(y)).toBe(Math.floor(i / 20) === 2 || i % 20 === 11);
  });
});

describeGpu("bits of the subgroup kernels", () => {
  it("where those run without fused multiply-add", async () => {
    const [wasm, gpu] = [new WasmBackend(), await createWebGpuBackend()];
    for (const [rows, inputs, outputs] of SIZES) {
      for (const dtype of ["F32", "BF16"] as const) {
        const [x, w, b] = [weight([rows, inputs], 1), weight([outputs, inputs], 2, dtype), weight([outputs], 3)];
        const [found, expected] = await Promise.all([
          values(wasm, (op, put) => op.linear(put(x), put(w), put(b))),
          values(gpu, (op, put) => op.linear(put(x), put(w), put(b))),
        ]);
        if (gpu.adapter?.includes("llvmpipe")) expect(found).toEqual(expected);
        else expect(Math.max(...found.map((y, i) => Math.abs(y - expected[i]!)))).toBeLessThan(1e-2);
      }
    }
    await wasm.close();
    await gpu.close();
  });
});

it("a weight is read in windows, each row once", async () => {
  const backend = new WasmBackend({ threads: 2 });
  const [x, w] = [weight([3, 2048], 1), weight([3000, 2048], 2, "BF16")];
  const { source, reads } = watched(w);
  const found = await values(backend, (op, put) => op.linear(put(x), put(source)));
  expect(found).toEqual(chains(floats(x), floats(w), 2048, CHAIN));
  expect(reads.length).toBeGreaterThan(2);
  expect(Math.max(...reads.map(([, length]) => length))).toBeLessThanOrEqual(4 << 20);
  let next = 0;
  for (const [begin, length] of reads) {
    expect(begin).toBe(next);
    next += length;
  }
  expect(next).toBe(2 * 3000 * 2048);
  expect(backend.peakBytes).toBeLessThan(16 << 20);
  await backend.close();
});

it("x that is more than is there at a time", async () => {
  const backend = new WasmBackend({ threads: 2 });
  const [x, w] = [weight([1100, 8196], 1), weight([9, 8196], 2, "BF16")];
  const found = await values(backend, (op, put) => op.linear(put(x), put(w)));
  expect(Buffer.from(found.buffer).equals(Buffer.from(chains(floats(x), floats(w), 8196, CHAIN).buffer))).toBe(true);
  await backend.close();
});

it("a weight that cannot be read any further reaches the caller while threads are at work", async () => {
  const backend = new WasmBackend({ threads: 2 });
  const [x, w] = [weight([60, 2048], 1), weight([3000, 2048], 2, "BF16")];
  await expect(values(backend, (op, put) => op.linear(put(x), put(broken(w))))).rejects.toThrow("the disk is gone");
  await backend.close();
});

it("a fault in a thread reaches the caller", async () => {
  const threads = new Threads(2);
  const out = new Float32Array(new SharedArrayBuffer(64));
  const job = {
    kind: "linear",
    x: 0,
    rows: 6,
    weights: 0,
    elementBytes: 4,
    depth: 8,
    chain: 8,
    begin: 0,
    end: 8,
  } as const;
  const beyond = { ...job, scratch: 2 ** 31, out, outWidth: 8, outRow: 0, outColumn: 0, bias: null };
  await expect(threads.run([beyond, beyond], 1e9)).rejects.toThrow(/Error/);
  await threads.close();
});

it("a thread that died fails the job at work and every later one, rather than leave them waiting", async () => {
  const folder = mkdtempSync(join(tmpdir(), "threads-"));
  const path = join(folder, "library.cjs");
  writeFileSync(path, "process.exit(3);");
  const widener = new WebAssembly.Module(Buffer.from(WIDEN_KERNEL, "base64"));
  const threads = new Threads(1, { name: "none", path, model: new Uint8Array(), widener });
  const none = new Float32Array(new SharedArrayBuffer(4));
  const part = { x: none, xBegin: 0, rows: 1, depth: 1, xIsNew: true, weights: none, begin: 0, end: 1 };
  const job = { kind: "onnx", ...part, out: none, outWidth: 1, outBegin: 0, bias: null } as const;
  for (let i = 0; i < 2; i++) await expect(threads.runOnnx([job])).rejects.toThrow("stopped with code 3");
  await threads.close();
  rmSync(folder, { recursive: true });
});

it("the kernels are those that the script makes", async () => {
  expect(readFileSync(file, "utf8")).toBe(source(await simdKernels()));
});

const chainOf = (summation: Summation): number => (summation === "short" ? SHORT_CHAIN : CHAIN);
