/**
 * Makes this process one on a machine without a GPU; to be called before anything asks for an adapter. On Linux the Vulkan
 * loader finds no driver; elsewhere drivers cannot be hidden, so an instance without adapters takes Dawn's place.
 */
export function hideGpus(): void {
  process.env.VK_DRIVER_FILES = "/dev/null";
  process.env.VK_ICD_FILENAMES = "/dev/null";
  if (process.platform === "linux") return;
  const instance = { requestAdapter: async () => null };
  Object.assign(globalThis, { [Symbol.for("convert-checkpoint.webgpu")]: instance });
}
