// What is said of an adapter: plain data, so that the types of `doctor` can be read without those of WebGPU.

/**
 * `subgroup`: one subgroup per workgroup, values shared by broadcast; for adapters that run on the CPU (lavapipe),
 * where workgroup memory and barriers are slow. `tile`: workgroup-memory tiles, for real GPUs.
 */
export type KernelFamily = "subgroup" | "tile";

/** Sizes that the adapter multiplies f16 in, with sums in f32: [M, K] · [K, N]. Powers of two. */
export interface MatrixShape {
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

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

/** The matrix units that products run on, or why they run on none. */
export type MatrixUse = { readonly shape: MatrixShape } | { readonly unused: string };
