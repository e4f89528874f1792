// Whether this machine's adapter offers subgroup matrices. Suites that need them are counted apart by scripts/test.mjs,
// which finds them by "[matrices]": few adapters have them, Mesa's software driver from version 25.2 or so on.
import { describe } from "vitest";
import { findMatrices } from "../../numerics/webgpu/device/matrices.ts";
import { EnvironmentError } from "../../src/base/errors.ts";

process.env.CONVERT_CHECKPOINT_SUBGROUP_MATRICES = "always";

async function reasonForNone(): Promise<string | undefined> {
  try {
    const found = await findMatrices();
    return "unused" in found ? found.unused : undefined;
  } catch (error) {
    if (error instanceof EnvironmentError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

const reason = await reasonForNone();
if (reason !== undefined) process.stderr.write(`subgroup matrix tests NOT RUN: ${reason}\n`);

/** A suite that needs an adapter with subgroup matrices, which it takes whatever the adapter. */
export function describeMatrixUnits(name: string, suite: () => void): void {
  describe.skipIf(reason !== undefined)(`[matrices] ${name}`, suite);
}
