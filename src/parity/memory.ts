// What a parity run needs in memory, from the shapes alone.
import type { ForwardPlan } from "../../numerics/shapes/plan.ts";
import { EnvironmentError } from "../base/errors.ts";

export interface MemoryPlan {
  /** Stored bytes of all weights of the largest step: what would be held if a step's weights were held at once. */
  readonly largestStepWeightBytes: number;
  /** Largest number of bytes of activations alive at once, both sides together. */
  readonly activationBytes: number;
  /** Estimate of the whole process at its peak. */
  readonly plannedBytes: number;
}

/** Weights travel in windows of at most this size, on every backend. */
const WINDOW_BYTES = 64 << 20;
/** Logits: two blocks in the backend and their copies. */
const LOGIT_BLOCK_BYTES = 64 << 20;
/** A started Node process with this program loaded; a GPU's driver and compiled kernels, or threads, come on top. */
const PROCESS_BYTES = { cpu: 120e6, wasm: 280e6, webgpu: 400e6 };

export function planMemory(backend: "cpu" | "webgpu" | "wasm", plans: readonly ForwardPlan[]): MemoryPlan {
  const valueBytes = backend === "cpu" ? 8 : 4;
  const steps = plans.flatMap((plan) => plan.steps);
  const body = plans.flatMap((plan) => plan.steps.slice(0, -1));
  // While one side computes, the other holds its last tap, which is as large as the embedding's output.
  const held = plans.slice(1).reduce((sum, plan) => sum + plan.steps[0]!.peakValues, 0);
  const activationBytes = valueBytes * (held + Math.max(0, ...body.map(({ peakValues }) => peakValues)));
  // Host backends keep the buffers of attention and of feed-forward, which take turns.
  const kept = backend === "webgpu" ? 1 : 2;
  const logitBytes = Math.min(LOGIT_BLOCK_BYTES, valueBytes * plans[0]!.logits.reduce((product, n) => product * n, 1));
  const largestWeightBytes = Math.max(...steps.map((step) => step.largestWeightBytes));
  return {
    largestStepWeightBytes: Math.max(...steps.map((step) => step.weightBytes)),
    activationBytes,
    plannedBytes:
      PROCESS_BYTES[backend] + kept * activationBytes + 4 * logitBytes + Math.min(WINDOW_BYTES, 2 * largestWeightBytes),
  };
}

/** @throws EnvironmentError MAX_RAM_IMPOSSIBLE before anything is computed */
export function checkRam({ plannedBytes }: MemoryPlan, maxRamBytes: number | undefined): void {
  if (maxRamBytes === undefined || plannedBytes <= maxRamBytes) return;
  const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`;
  throw new EnvironmentError("MAX_RAM_IMPOSSIBLE", `this run needs about ${megabytes(plannedBytes)} of memory`, {
    expected: `at most ${megabytes(maxRamBytes)}`,
    found: megabytes(plannedBytes),
    help: "raise --max-ram, or compare on fewer tokens (--ids with a shorter array)",
  });
}
