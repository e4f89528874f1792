// A file of its own: the Vulkan loader must find no driver from the start of the process.
import { expect, it } from "vitest";
import { hideGpus } from "../../helpers/no-gpu.ts";

it("a machine without a driver is told how to get one", async () => {
  hideGpus();
  const { createWebGpuBackend } = await import("../../../numerics/webgpu/backend.ts");
  const { listAdapters } = await import("../../../numerics/webgpu/device/adapter.ts");
  if (process.platform === "linux") expect(await listAdapters()).toEqual([]);
  await expect(createWebGpuBackend()).rejects.toMatchObject({
    code: "NO_GPU_ADAPTER",
    exitCode: 4,
    details: { help: expect.stringContaining("mesa-vulkan-drivers") },
  });
});
