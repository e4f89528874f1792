import { afterEach, expect, it, vi } from "vitest";
import * as onnx from "../../numerics/wasm/onnx.ts";
import * as adapter from "../../numerics/webgpu/device/adapter.ts";
import { openBackend } from "../../src/parity/backend.ts";
import type { BackendChoice } from "../../src/parity/choices.ts";
import { describeGpu } from "../helpers/gpu.ts";

async function opened(choice: BackendChoice, flops: number, mayMeasure = true) {
  const { backend, choice: why } = await openBackend(choice, { flops, mayMeasure });
  await backend.close();
  return { name: backend.name, library: backend.library, why };
}

afterEach(() => vi.restoreAllMocks());

it("wasm leaves large products to the library that is installed; cpu and webgpu have none", async () => {
  const { library } = onnx.findOnnx();
  expect(await opened("wasm", 1)).toMatchObject({ name: "wasm", library: library?.name ?? null });
  expect(await opened("cpu", 1)).toMatchObject({ name: "cpu", library: null });
});

/** As a machine without the library. */
const hideLibrary = () => vi.spyOn(onnx, "findOnnx").mockReturnValue({ library: null, reason: "hidden" });

describeGpu("auto", () => {
  it("takes WebGPU on a hardware adapter", async () => {
    const found = await adapter.describeAdapter();
    vi.spyOn(adapter, "describeAdapter").mockResolvedValue({ ...found, isFallback: false });
    expect(await opened("auto", 1e12)).toEqual({ name: "webgpu", library: null, why: undefined });
  });

  it("takes wasm with a library before a software adapter, and says so", async () => {
    const found = await adapter.describeAdapter();
    vi.spyOn(adapter, "describeAdapter").mockResolvedValue({ ...found, isFallback: true });
    const library = onnx.findOnnx().library!;
    expect(await opened("auto", 1e12)).toEqual({
      name: "wasm",
      library: library.name,
      why: `the WebGPU adapter here (${found.name}) computes on the CPU, where wasm with ${library.name} is faster`,
    });
  });

  it("without a library takes wasm for little work, and for much the one that is faster by measurement", async () => {
    hideLibrary();
    const found = await adapter.describeAdapter();
    vi.spyOn(adapter, "describeAdapter").mockResolvedValue({ ...found, isFallback: true });
    const about = { name: "wasm", library: null, why: expect.stringContaining("where wasm is about as fast") };
    expect(await opened("auto", 1e11)).toEqual(about);
    expect(await opened("auto", 1e13, false)).toEqual(about);
    const { name, why = "" } = await opened("auto", 1e13);
    const [, on, other] = /; a product takes (\d+ ms on \w+), (\d+ ms on \w+)$/.exec(why) ?? [];
    const milliseconds = (text = "") => Number(text.split(" ")[0]);
    expect(on?.endsWith(` on ${name}`)).toBe(true);
    expect(milliseconds(on)).toBeGreaterThan(0);
    expect(milliseconds(on)).toBeLessThanOrEqual(milliseconds(other));
  });

  it("of a backend that was asked for says nothing", async () => {
    expect((await opened("webgpu", 1e12)).why).toBeUndefined();
    expect((await opened("wasm", 1e12)).why).toBeUndefined();
  });
});
