// Finding a GPU: the one Dawn instance of this process, its adapters, and which kernels suit them.
import { EnvironmentError } from "../../../src/base/errors.ts";
import { installLine, isMissing } from "../../../src/base/optional-packages.ts";
import type { AdapterDescription, KernelFamily, MatrixShape } from "./description.ts";
import { awaitGpu } from "./polling.ts";

const driverHelp =
  "install a Vulkan driver of your GPU, or Mesa's software driver (Debian 13, Ubuntu 24.04: apt-get install mesa-vulkan-drivers libvulkan1; Debian 12: the same from bookworm-backports, Mesa >= 24), or take --backend wasm";

// Dawn hangs or crashes when the result of `create` is garbage-collected while devices live, so the global object holds
// it for the whole process, one for all copies of this module.
const held: Record<symbol, GPU | undefined> = Object(globalThis);
const instanceKey = Symbol.for("convert-checkpoint.webgpu");
const matricesKey = Symbol.for("convert-checkpoint.webgpu.matrices");
const listingKey = Symbol.for("convert-checkpoint.webgpu.listing");

/**
 * Subgroup matrices are an experiment of Dawn's, and need Vulkan's memory model; f16 is hidden on NVIDIA's Vulkan drivers
 * unless asked for (https://crbug.com/42251215).
 */
const matrixToggles = "allow_unsafe_apis,use_vulkan_memory_model,vulkan_enable_f16_on_nvidia";

async function loadDawn(): Promise<typeof import("webgpu")> {
  try {
    return await import("webgpu");
  } catch (cause) {
    const missing = isMissing("webgpu", cause);
    throw new EnvironmentError(
      "WEBGPU_NOT_LOADABLE",
      `the npm package \`webgpu\` ${missing ? "is not installed" : "does not load on this machine"}`,
      {
        help: missing
          ? `to run on a GPU install it (130 MB): ${installLine("webgpu")}; or take --backend wasm`
          : `it has binaries for Linux, macOS and Windows on x64 and arm64; install it anew (${installLine("webgpu")}), or take --backend wasm`,
        found: String(cause).split("\n")[0]!,
        cause,
      },
    );
  }
}

const highPerformance = { powerPreference: "high-performance" } as const;

/** @throws EnvironmentError NO_GPU_ADAPTER, WEBGPU_NOT_LOADABLE. An adapter makes one device only. */
export async function requestAdapter(): Promise<GPUAdapter> {
  held[instanceKey] ??= (await loadDawn()).create([]);
  const adapter = await awaitGpu(held[instanceKey].requestAdapter(highPerformance));
  if (adapter === null) {
    throw new EnvironmentError("NO_GPU_ADAPTER", "no WebGPU adapter on this machine", { help: driverHelp });
  }
  return adapter;
}

/** The same adapter as Dawn shows it when asked for subgroup matrices: an instance of its own, so that no other changes. */
export async function requestMatrixAdapter(): Promise<GPUAdapter | null> {
  held[matricesKey] ??= (await loadDawn()).create([`enable-dawn-features=${matrixToggles}`]);
  return awaitGpu(held[matricesKey].requestAdapter(highPerformance));
}

export const matrixFeatures = ["chromium-experimental-subgroup-matrix", "shader-f16"] as const;

/** Largest matrices of f16 with sums in f32 that the adapter multiplies, if it has subgroups of one known width. */
export function matrixShapeOf(adapter: GPUAdapter): MatrixShape | undefined {
  const [smallest, largest] = subgroupSizes(adapter);
  const features: ReadonlySet<string> = adapter.features;
  if (smallest !== largest || !["subgroups", ...matrixFeatures].every((name) => features.has(name))) return undefined;
  const configs: unknown = Reflect.get(adapter.info, "subgroupMatrixConfigs");
  const shapes = Array.isArray(configs) ? configs.flatMap((config) => shapeOf(config, smallest)) : [];
  return shapes.sort((a, b) => b.M * b.N * b.K - a.M * a.N * a.K)[0];
}

function shapeOf(config: unknown, subgroupSize: number): MatrixShape[] {
  const field = (name: string): unknown => Reflect.get(Object(config), name);
  const [M, N, K] = [field("M"), field("N"), field("K")];
  const isF16 = field("componentType") === "f16" && field("resultComponentType") === "f32";
  const suits = (n: unknown): n is number =>
    typeof n === "number" && n >= 8 && n <= 32 && Number.isInteger(Math.log2(n));
  return isF16 && suits(M) && suits(N) && suits(K) && (M * N) % subgroupSize === 0 ? [{ M, N, K }] : [];
}

export const adapterName = ({ info }: GPUAdapter): string =>
  info.description || info.device || info.vendor || "unknown";

/** Smallest and largest number of invocations in a subgroup; 1 where the adapter has none. */
export const subgroupSizes = ({ info }: GPUAdapter): readonly [number, number] => [
  info.subgroupMinSize ?? 1,
  info.subgroupMaxSize ?? 1,
];

/** Subgroups that are narrow and of one known width: adapters that run on the CPU have 4, 8 or 16. */
export function kernelsFor(adapter: GPUAdapter): KernelFamily {
  const [smallest, largest] = subgroupSizes(adapter);
  const isNarrow = adapter.features.has("subgroups") && smallest === largest && smallest >= 4 && largest <= 16;
  return isNarrow ? "subgroup" : "tile";
}

/**
 * What `createWebGpuBackend` would run on, but for matrix units (`describeMatrices`).
 * @throws EnvironmentError NO_GPU_ADAPTER, WEBGPU_NOT_LOADABLE
 */
export async function describeAdapter(): Promise<AdapterDescription> {
  const adapter = await requestAdapter();
  const { info, limits } = adapter;
  return {
    name: adapterName(adapter),
    vendor: info.vendor,
    architecture: info.architecture,
    isFallback: info.isFallbackAdapter,
    subgroupSizes: subgroupSizes(adapter),
    kernels: kernelsFor(adapter),
    features: [...adapter.features].sort(),
    limits: {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    },
  };
}

/**
 * Every adapter of this machine with the API it is reached by (`vulkan`, `metal`, `d3d12`). Dawn tells them in the error
 * of an instance that is bound to an adapter which does not exist (README of npm `webgpu`, "adapter").
 * @throws EnvironmentError WEBGPU_NOT_LOADABLE
 */
export async function listAdapters(): Promise<readonly { readonly api: string; readonly name: string }[]> {
  held[listingKey] ??= (await loadDawn()).create(["adapter=none of that name"]);
  try {
    await awaitGpu(held[listingKey].requestAdapter());
    return [];
  } catch (error) {
    const lines = String(error).matchAll(/^ *\* backend: '(.*)', name: '(.*)'$/gm);
    return Array.from(lines, ([, api, name]) => ({ api: api!, name: name! }));
  }
}
