// What a parity run is said to need: each part of the sum, and the numbers of the three backends.
import { expect, test } from "vitest";
import { CAPABILITIES, type Capabilities } from "../../numerics/capabilities.ts";
import { CpuBackend } from "../../numerics/cpu/backend.ts";
import type { ForwardPlan, StepPlan } from "../../numerics/shapes/plan.ts";
import { WasmBackend } from "../../numerics/wasm/backend.ts";
import { checkRam, parityMemory } from "../../src/parity/memory.ts";

const BACKEND: Capabilities = {
  valueBytes: 4,
  exact: false,
  processBytes: 1e6,
  windowBytes: 64 << 20,
  activationSets: 1,
};

const step = (tap: string, peakValues: number, weightBytes: number, largestWeightBytes = weightBytes): StepPlan => ({
  tap,
  weights: [tap],
  weightBytes,
  largestWeightBytes,
  flops: 1,
  peakValues,
  tapValues: 0,
});

/** Logits of 10 tokens; the last step, which makes them in blocks, counts for its weights alone. */
const plan = (vocab: number, ...steps: readonly StepPlan[]): ForwardPlan => ({
  steps,
  logits: [10, vocab],
  flops: 1,
  reads: { whole: new Set(), picked: new Map(), mixtures: [], masks: [] },
});

test("process, activations, four blocks of logits, two windows of the largest weight", () => {
  const one = plan(7, step("embed", 100, 5000), step("layers.0", 300, 8000, 3000), step("logits", 999, 600));
  expect(parityMemory(BACKEND, [one])).toEqual({
    largestStepWeightBytes: 8000,
    activationBytes: 4 * 300,
    plannedBytes: 1e6 + 4 * 300 + 4 * 4 * 70 + 2 * 5000,
  });
});

test("of two sides, one holds its last tap while the other computes", () => {
  const sides = [
    plan(7, step("embed", 100, 10), step("layers.0", 300, 10), step("logits", 0, 10)),
    plan(7, step("embed", 50, 10), step("layers.0", 400, 10), step("logits", 0, 10)),
  ];
  expect(parityMemory(BACKEND, sides).activationBytes).toBe(4 * (50 + 400));
});

test("a backend counts by its capabilities", () => {
  const one = plan(7, step("embed", 100, 10), step("logits", 0, 10));
  const { plannedBytes } = parityMemory({ ...BACKEND, valueBytes: 8, activationSets: 2, processBytes: 2e6 }, [one]);
  expect(plannedBytes).toBe(2e6 + 2 * 8 * 100 + 4 * 8 * 70 + 20);
});

test("logits and weights beyond a block and a window are counted as one", () => {
  const one = plan(1e7, step("embed", 100, 1e9), step("logits", 0, 10));
  expect(parityMemory(BACKEND, [one]).plannedBytes).toBe(1e6 + 400 + 4 * (64 << 20) + (64 << 20));
});

test("the backends: f64 and f32, what the process takes, buffers that are kept", () => {
  const windowBytes = 64 << 20;
  expect(CAPABILITIES).toEqual({
    cpu: { valueBytes: 8, exact: true, processBytes: 120e6, windowBytes, activationSets: 2 },
    wasm: { valueBytes: 4, exact: false, processBytes: 280e6, windowBytes, activationSets: 2 },
    webgpu: { valueBytes: 4, exact: false, processBytes: 400e6, windowBytes, activationSets: 1 },
  });
  expect(new CpuBackend().capabilities).toBe(CAPABILITIES.cpu);
  expect(new WasmBackend({ threads: 1 }).capabilities).toBe(CAPABILITIES.wasm);
});

test("--max-ram is a limit, not a wish", () => {
  const memory = { largestStepWeightBytes: 0, activationBytes: 0, plannedBytes: 5_000_001 };
  expect(() => checkRam(memory, undefined)).not.toThrow();
  expect(() => checkRam(memory, 5_000_001)).not.toThrow();
  expect(() => checkRam(memory, 5_000_000)).toThrow(
    expect.objectContaining({ code: "MAX_RAM_IMPOSSIBLE", details: expect.objectContaining({ found: "6 MB" }) }),
  );
});
