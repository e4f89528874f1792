import { expect, it } from "vitest";
import { findOnnx } from "../../numerics/wasm/onnx.ts";
import { describeAdapter } from "../../numerics/webgpu/device/adapter.ts";
import { openBackend } from "../../src/parity/backend.ts";
import type { BackendChoice } from "../../src/parity/choices.ts";
import { describeGpu } from "../helpers/gpu.ts";

async function opened(choice: BackendChoice, flops: number) {
  const { backend, hint } = await openBackend(choice, flops);
  await backend.close();
  return { name: backend.name, library: backend.library, hint };
}

it("wasm leaves large products to the library that is installed; cpu and webgpu have none", async () => {
  const { library } = findOnnx();
  expect(await opened("wasm", 1)).toMatchObject({ name: "wasm", library: library?.name ?? null });
  expect(await opened("cpu", 1)).toMatchObject({ name: "cpu", library: null });
});

describeGpu("a software adapter", () => {
  it("that auto takes for much work comes with a hint at what is faster; one that was asked for does not", async () => {
    const { isFallback } = await describeAdapter();
    const hint =
      isFallback && findOnnx().library ? expect.stringContaining("--backend wasm with ONNX Runtime") : undefined;
    expect(await opened("auto", 1e12)).toEqual({ name: "webgpu", library: null, hint });
    expect((await opened("auto", 1e9)).hint).toBeUndefined();
    expect((await opened("webgpu", 1e12)).hint).toBeUndefined();
  });
});
