// Whether tests that need a WebGPU adapter can run. Without one they are skipped and counted by scripts/test.mjs, which
// finds them by "[gpu]"; with CONVERT_CHECKPOINT_REQUIRE_GPU=1 they run anyway, and fail.
import { describe } from "vitest";
import { describeAdapter } from "../../numerics/webgpu/device/adapter.ts";
import { EnvironmentError } from "../../src/base/errors.ts";

async function reasonForNoGpu(): Promise<string | undefined> {
  try {
    await describeAdapter();
    return undefined;
  } catch (error) {
    if (error instanceof EnvironmentError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

const reason = await reasonForNoGpu();
const isRequired = process.env.CONVERT_CHECKPOINT_REQUIRE_GPU === "1";
if (reason !== undefined && !isRequired) process.stderr.write(`GPU tests NOT RUN: ${reason}\n`);

/** A suite that needs a WebGPU adapter. */
export function describeGpu(name: string, suite: () => void): void {
  describe.skipIf(reason !== undefined && !isRequired)(`[gpu] ${name}`, suite);
}

/** … of kernels that this adapter would not take: `npm run test:gpu` leaves them out on drivers that take minutes to compile them. */
export function describeOtherWidths(name: string, suite: () => void): void {
  describeGpu(`[other widths] ${name}`, suite);
}
