// A file of its own: the Vulkan loader must find no driver from the start of the process.
import { expect, it } from "vitest";

it.runIf(process.platform === "linux")("a machine without a driver is told how to get one", async () => {
  process.env.VK_DRIVER_FILES = "/dev/null";
  process.env.VK_ICD_FILENAMES = "/dev/null";
  const { createWebGpuBackend } = await import("../../../numerics/webgpu/backend.ts");
  const { listAdapters } = await import("../../../numerics/webgpu/adapter.ts");
  expect(await listAdapters()).toEqual([]);
  await expect(createWebGpuBackend()).rejects.toMatchObject({
    code: "NO_GPU_ADAPTER",
    exitCode: 4,
    details: { help: expect.stringContaining("mesa-vulkan-drivers") },
  });
});
