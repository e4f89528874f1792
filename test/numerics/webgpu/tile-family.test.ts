// What real GPUs run, on whatever adapter is there: tiles of their size, and a whole model on tile kernels alone.
import { expect, it, vi } from "vitest";
import { createWebGpuBackend } from "../../../numerics/webgpu/backend.ts";
import { tileFor } from "../../../numerics/webgpu/kernels/gemm-tile.ts";
import { runParity } from "../../../src/parity/parity.ts";
import { describeOtherWidths } from "../../helpers/gpu.ts";
import { fixtureCase, hfSide } from "../../helpers/models.ts";
import { largestError } from "../../helpers/tensors.ts";
import { chains, floats } from "../chains.ts";
import { values, weight } from "../harness.ts";

vi.hoisted(() => {
  process.env.CONVERT_CHECKPOINT_SUBGROUP_MATRICES = "never";
});
vi.mock("../../../numerics/webgpu/device/adapter.ts", async (original) => ({
  ...(await original<typeof import("../../../numerics/webgpu/device/adapter.ts")>()),
  kernelsFor: () => "tile",
}));

/** lavapipe takes ten seconds to compile one such kernel. */
const timeout = 600_000;

describeOtherWidths("kernels of real GPUs", () => {
  it.each([
    [70, "F32", [64, 64, 16]],
    [257, "BF16", [128, 128, 16]],
  ] as const)(
    "%i rows of %s: the bits of plain multiply and add, where nothing contracts to FMA",
    async (rows, dtype, tile) => {
      expect(tileFor(rows, 32768).tile).toEqual(tile);
      const backend = await createWebGpuBackend();
      const [x, w] = [weight([rows, 1052], 1), weight([131, 1052], 2, dtype)];
      const found = await values(backend, (op, put) => op.linear(put(x), put(w)));
      const expected = chains(floats(x), floats(w), 1052, 1024);
      if (backend.adapter.includes("llvmpipe")) expect(found).toEqual(expected);
      else expect(largestError(found, expected)).toBeLessThan(1e-3);
      await backend.close();
    },
    timeout,
  );

  it(
    "a whole model: the logits of transformers in f64",
    async () => {
      const { golden } = fixtureCase("llama3/split");
      const { metrics } = await runParity({ a: hfSide("llama3/split"), golden, backend: "webgpu" });
      expect(metrics.klMeanNats).toBeLessThan(2e-11);
      expect(metrics).toMatchObject({ top1: 1, top5: 1 });
    },
    timeout,
  );
});
