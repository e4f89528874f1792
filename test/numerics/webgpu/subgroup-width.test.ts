// The subgroup kernels at another width than this machine's own. lavapipe takes it from the environment, once a process,
// hence a file of its own; other adapters ignore it, and run the test at their width.
import { expect, it, vi } from "vitest";
import { createWebGpuBackend } from "../../../numerics/webgpu/backend.ts";
import { describeAdapter } from "../../../numerics/webgpu/device/adapter.ts";
import { describeOtherWidths } from "../../helpers/gpu.ts";
import { errorOf, weight } from "../harness.ts";

vi.hoisted(() => {
  process.env.LP_NATIVE_VECTOR_WIDTH = "128";
});

describeOtherWidths("subgroups of 4", () => {
  it("products and attention", async () => {
    const adapter = await describeAdapter();
    if (adapter.name.includes("llvmpipe")) expect(adapter.subgroupSizes).toEqual([4, 4]);
    const backend = await createWebGpuBackend();
    const [x, bias] = [weight([19, 84], 1), weight([75], 3)];
    for (const dtype of ["F32", "BF16"] as const) {
      const w = weight([75, 84], 2, dtype);
      expect(await errorOf(backend, (op, put) => op.linear(put(x), put(w), put(bias)))).toBeLessThan(2e-6);
    }
    const [q, k, v] = [weight([21, 4, 20], 4), weight([21, 2, 20], 5), weight([21, 2, 20], 6)];
    const mask = { kind: "window", size: 9 } as const;
    const error = errorOf(backend, (op, put) => op.attention(put(q), put(k), put(v), { scale: 0.3, mask }));
    expect(await error).toBeLessThan(2e-5);
    await backend.close();
  });
});
