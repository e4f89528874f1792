// What a parity run needs in memory, from the shapes alone.
import type { Capabilities } from "../../numerics/capabilities.ts";
import { LOGIT_BLOCK_BYTES } from "../../numerics/driver.ts";
import type { ForwardPlan } from "../../numerics/shapes/plan.ts";
import { elementCount } from "../base/dtype.ts";
import { EnvironmentError } from "../base/errors.ts";

export interface ParityMemory {
  /** Stored bytes of all weights of the largest step: what would be held if a step's weights were held at once. */
  readonly largestStepWeightBytes: number;
  /** Largest number of bytes of activations alive at once, both sides together. */
  readonly activationBytes: number;
  /** Estimate of the whole process at its peak. */
  readonly plannedBytes: number;
}

/** @param plans of the sides, on one input */
export function parityMemory(backend: Capabilities, plans: readonly ForwardPlan[]): ParityMemory {
  const { valueBytes, processBytes, windowBytes, activationSets } = backend;
  const steps = plans.flatMap((plan) => plan.steps);
  const body = plans.flatMap((plan) => plan.steps.slice(0, -1));
  // While one side computes, the other holds its last tap, which is as large as the embedding's output.
  const held = plans.slice(1).reduce((sum, plan) => sum + plan.steps[0]!.peakValues, 0);
  const activationBytes = valueBytes * (held + Math.max(0, ...body.map(({ peakValues }) => peakValues)));
  // Two blocks in the backend and their copies.
  const logitBytes = 4 * Math.min(LOGIT_BLOCK_BYTES, valueBytes * elementCount(plans[0]!.logits));
  const largestWeightBytes = Math.max(...steps.map((step) => step.largestWeightBytes));
  return {
    largestStepWeightBytes: Math.max(...steps.map((step) => step.weightBytes)),
    activationBytes,
    plannedBytes:
      processBytes + activationSets * activationBytes + logitBytes + Math.min(windowBytes, 2 * largestWeightBytes),
  };
}

/** @throws EnvironmentError MAX_RAM_IMPOSSIBLE before anything is computed */
export function checkRam({ plannedBytes }: ParityMemory, maxRamBytes: number | undefined): void {
  if (maxRamBytes === undefined || plannedBytes <= maxRamBytes) return;
  const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`;
  throw new EnvironmentError("MAX_RAM_IMPOSSIBLE", `this run needs about ${megabytes(plannedBytes)} of memory`, {
    expected: `at most ${megabytes(maxRamBytes)}`,
    found: megabytes(plannedBytes),
    help: "raise --max-ram, or compare on fewer tokens (--ids with a shorter array)",
  });
}
