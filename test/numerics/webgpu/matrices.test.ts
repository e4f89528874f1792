// Products on matrix units: what a backend is checked for, and, where there are some, that they compute it.
import { describe, expect, it } from "vitest";
import type { WeightSource } from "../../../numerics/backend.ts";
import { CpuBackend } from "../../../numerics/cpu/backend.ts";
import { WasmBackend } from "../../../numerics/wasm/backend.ts";
import { createWebGpuBackend, describeMatrices } from "../../../numerics/webgpu/backend.ts";
import { requestAdapter } from "../../../numerics/webgpu/device/adapter.ts";
import { checkProducts, findMatrices } from "../../../numerics/webgpu/device/matrices.ts";
import { runParity } from "../../../src/parity/parity.ts";
import { fixtureCases } from "../../helpers/fixtures.ts";
import { describeGpu } from "../../helpers/gpu.ts";
import { describeMatrixUnits } from "../../helpers/matrices.ts";
import { hfSide, openHf, withCheckpoint } from "../../helpers/models.ts";
import { bytesAsWeight } from "../../helpers/tensors.ts";
import { floats } from "../chains.ts";
import { splitRow } from "../halves.ts";
import { errorOf, values, weight } from "../harness.ts";

type Values = Float32Array | Float64Array;

/** A backend that computes something else, as a driver might. */
class Spoiled extends CpuBackend {
  constructor(private readonly spoil: (found: Values) => void) {
    super();
  }
  override async readback(...asked: Parameters<CpuBackend["readback"]>) {
    const found = await super.readback(...asked);
    this.spoil(found);
    return found;
  }
}

/** Operands in one f16 each: what matrix units make of them without the second part. */
class HighPartsOnly extends CpuBackend {
  override weight(source: WeightSource) {
    const [row, width] = [floats(source), source.shape.at(-1)!];
    for (let begin = 0; begin < row.length; begin += width) {
      const { scale, one } = splitRow(row.subarray(begin, begin + width));
      row.set(
        one.map((x, i) => (Number.isNaN(row[begin + i]) ? Number.NaN : x / scale)),
        begin,
      );
    }
    return super.weight(bytesAsWeight(row, source.shape, "F32"));
  }
}

describe("the check of matrix units", () => {
  it("passes what computes in f32 or better", async () => {
    const wasm = new WasmBackend({ threads: 1 });
    expect(await checkProducts(new CpuBackend())).toBeUndefined();
    expect(await checkProducts(wasm)).toBeUndefined();
    await wasm.close();
  });

  it.each([
    ["one element off", (y: Values) => y.fill(1.01 * y[777]!, 777, 778)],
    ["a row that is not there", (y: Values) => y.fill(0, 36 * 70)],
    ["NaN that is lost", (y: Values) => y.fill(0, 3 * 70, 4 * 70)],
    ["NaN that is new", (y: Values) => y.fill(Number.NaN, 0, 1)],
  ])("finds %s", async (_, spoil) => {
    expect(await checkProducts(new Spoiled(spoil))).toMatch(/a product of BF16 weights is .* off/);
  });

  it("finds f16 where f32 should be", async () => {
    expect(await checkProducts(new HighPartsOnly())).toMatch(/off/);
  });
});

describeGpu("matrix units that do not compile or that compute something else", () => {
  it("are not used: products run on the kernels for this adapter, and the report says why", async () => {
    const find = async () => ({ adapter: await requestAdapter(), shape: { M: 8, N: 8, K: 8 } });
    const backend = await createWebGpuBackend({}, find);
    expect(backend.matrices).toEqual({ unused: expect.stringMatching(/gemm-matrix|subgroup_matrix/) });
    expect(backend.adapter).toMatch(/\(subgroup matrices unused: /);
    const [x, w] = [weight([40, 75], 1), weight([50, 75], 2)];
    expect(await errorOf(backend, (op, put) => op.linear(put(x), put(w)))).toBeLessThan(2e-6);
    await backend.close();
  });
});

describe("whether matrix units are used", () => {
  it("is a setting, whose spelling is checked", async () => {
    const name = "CONVERT_CHECKPOINT_SUBGROUP_MATRICES";
    const before = process.env[name];
    process.env[name] = "never";
    expect(await findMatrices()).toEqual({ unused: `${name}=never` });
    process.env[name] = "often";
    await expect(findMatrices()).rejects.toMatchObject({ code: "SETTING_UNKNOWN", exitCode: 4 });
    process.env[name] = before;
  });
});

describeMatrixUnits("products", () => {
  it("are on them, and said to be", async () => {
    const backend = await createWebGpuBackend();
    expect(backend.adapter).toMatch(/\(subgroup matrices \d+x\d+x\d+\)$/);
    expect(await describeMatrices()).toEqual(backend.matrices);
    expect(backend.matrices).toHaveProperty("shape");
    await backend.close();
  });

  it.each(["F32", "BF16"] as const)("%s at odd sizes, with outliers, bias and short chains", async (dtype) => {
    const backend = await createWebGpuBackend();
    for (const [rows, inputs, outputs] of [
      [32, 8, 1],
      [33, 75, 50],
      [67, 300, 129],
      [129, 1100, 65],
    ] as const) {
      const [x, w, bias] = [weight([rows, inputs], 1), weight([outputs, inputs], 2, dtype), weight([outputs], 3)];
      expect(await errorOf(backend, (op, put) => op.linear(put(x), put(w)))).toBeLessThan(5e-7);
      expect(await errorOf(backend, (op, put) => op.linear(put(x), put(w), put(bias)))).toBeLessThan(5e-7);
      expect(await errorOf(backend, (op, put) => op.linear(put(x), put(w), undefined, "short"))).toBeLessThan(5e-7);
    }
    await backend.close();
  });

  it.each(["F32", "BF16"] as const)("the same bits of %s, whatever the windows", async (dtype) => {
    const [x, w, bias] = [weight([130, 44], 5), weight([263, 44], 6, dtype), weight([263], 7)];
    const run = async (options: Parameters<typeof createWebGpuBackend>[0]) => {
      const backend = await createWebGpuBackend(options);
      const found = await values(backend, (op, put) => op.linear(op.map("silu", put(x)), put(w), put(bias)));
      await backend.close();
      return found;
    };
    const whole = await run({});
    expect(await run({ windowBytes: 4096 })).toEqual(whole);
    expect(await run({ windowBytes: 1 })).toEqual(whole);
    expect(await run({ windowBytes: 10_000, bindingBytes: 120_000 })).toEqual(whole);
  });

  it("a NaN stays in its row of x and its row of the weight", async () => {
    const backend = await createWebGpuBackend();
    const [x, w] = [floats(weight([40, 37], 1)), floats(weight([20, 37], 2))];
    x[2 * 37 + 36] = Number.NaN;
    w[11 * 37] = Number.POSITIVE_INFINITY;
    const found = await values(backend, (op, put) =>
      op.linear(put(bytesAsWeight(x, [40, 37], "F32")), put(bytesAsWeight(w, [20, 37], "F32"))),
    );
    for (const [i, y] of found.entries()) expect(Number.isFinite(y)).toBe(Math.floor(i / 20) !== 2 && i % 20 !== 11);
    await backend.close();
  });

  const families = ["llama3", "qwen3", "gpt_oss", "deepseek_v3"];
  it.each(families.map((family) => fixtureCases.find((entry) => entry.family === family)!))(
    "$name: the logits of transformers in f64",
    async ({ name, golden, hf }) => {
      const a = withCheckpoint(hfSide(name), openHf(hf));
      const { metrics, backend } = await runParity({ a, golden, backend: "webgpu" });
      expect(backend.adapter).toMatch(/\(subgroup matrices \d/);
      expect(metrics.klMeanNats).toBeLessThan(1e-10);
      expect(metrics).toMatchObject({ top1: 1, top5: 1 });
    },
  );
});
