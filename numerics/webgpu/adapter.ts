// Finding a GPU: the one Dawn instance of this process, its adapters, and which kernels suit them.
import { EnvironmentError } from "../../src/errors.ts";
import { awaitGpu } from "./polling.ts";

/**
 * `subgroup`: one subgroup a workgroup, values shared by broadcast; for adapters that run on the CPU (lavapipe), where
 * workgroup memory and barriers are slow. `tile`: workgroup-memory tiles, for real GPUs.
 */
export type KernelFamily = "subgroup" | "tile";

export interface AdapterDescription {
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  /** True for adapters that run on the CPU. */
  readonly isFallback: boolean;
  /** Smallest and largest number of invocations in a subgroup. */
  readonly subgroupSizes: readonly [number, number];
  readonly kernels: KernelFamily;
  readonly features: readonly string[];
  /** Bytes. */
  readonly limits: Readonly<
    Record<"maxBufferSize" | "maxStorageBufferBindingSize" | "maxComputeWorkgroupStorageSize", number>
  >;
}

const driverHelp =
  "install a Vulkan driver of your GPU, or Mesa's software driver (Debian 13, Ubuntu 24.04: apt-get install mesa-vulkan-drivers libvulkan1; Debian 12: the same from bookworm-backports, Mesa >= 24), or take --backend wasm";

// Dawn hangs or crashes when the result of `create` is garbage-collected while devices live, so the global object holds
// it for the whole process, one for all copies of this module.
const held: Record<symbol, GPU | undefined> = Object(globalThis);
const instanceKey = Symbol.for("convert-checkpoint.webgpu");
const listingKey = Symbol.for("convert-checkpoint.webgpu.listing");

async function loadDawn(): Promise<typeof import("webgpu")> {
  try {
    return await import("webgpu");
  } catch (cause) {
    throw new EnvironmentError("WEBGPU_NOT_LOADABLE", "the npm package `webgpu` does not load on this machine", {
      help: "it has binaries for Linux, macOS and Windows on x64 and arm64; reinstall with `npm ci`, or take --backend wasm",
      found: String(cause).split("\n")[0]!,
      cause,
    });
  }
}

/** @throws EnvironmentError NO_GPU_ADAPTER, WEBGPU_NOT_LOADABLE. An adapter makes one device only. */
export async function requestAdapter(): Promise<GPUAdapter> {
  held[instanceKey] ??= (await loadDawn()).create([]);
  const adapter = await awaitGpu(held[instanceKey].requestAdapter({ powerPreference: "high-performance" }));
  if (adapter === null) {
    throw new EnvironmentError("NO_GPU_ADAPTER", "no WebGPU adapter on this machine", { help: driverHelp });
  }
  return adapter;
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

/** What `createWebGpuBackend` would run on. @throws EnvironmentError NO_GPU_ADAPTER, WEBGPU_NOT_LOADABLE. */
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
