// What a compute kernel is, and its compiled pipelines.
import { type Device, GpuError } from "./device/device.ts";
import { awaitGpu } from "./device/polling.ts";

type ParamType = "u32" | "f32";

/** A WGSL compute shader over some read-only buffers, one output and a few numbers. */
export interface Kernel<P extends string = string> {
  /** Names the pipeline; kernels of equal key have equal code. */
  readonly key: string;
  /** Read-only buffers: name → element type. Bound as 0, 1, …; the output comes next, then the numbers. */
  readonly reads: Readonly<Record<string, string>>;
  /** Element type of the output buffer, named `Y`. */
  readonly writes: string;
  /** Numbers that differ from call to call, read as `p.name`. */
  readonly params: Readonly<Record<P, ParamType>>;
  /** Invocations a workgroup. */
  readonly size: number;
  readonly usesSubgroups?: boolean;
  /** Never with `usesSubgroups`: a driver was seen to crash on both in one module (kvark/blade issue 333). */
  readonly usesMatrices?: boolean;
  /** Declarations at module scope (workgroup memory). */
  readonly declarations?: string;
  /** Body of the entry point, which sees `group`, `groups` (vec3u) and `lane`, the invocation's index in its group. */
  body(): string;
}

/** Bytes of one block of numbers in the uniform buffer: WebGPU's default offset alignment. */
export const paramBytes = 256;

function source(kernel: Kernel): string {
  const reads = Object.entries(kernel.reads);
  const buffer = (i: number, access: string, name: string, type: string) =>
    `@group(0) @binding(${i}) var<storage, ${access}> ${name}: array<${type}>;`;
  return `${kernel.usesSubgroups ? "enable subgroups;" : ""}${kernel.usesMatrices ? "enable chromium_experimental_subgroup_matrix, f16;" : ""}
struct Params { ${Object.entries(kernel.params)
    .map(([name, type]) => `${name}: ${type},`)
    .join(" ")} }
${reads.map(([name, type], i) => buffer(i, "read", name, type)).join("\n")}
${buffer(reads.length, "read_write", "Y", kernel.writes)}
@group(0) @binding(${reads.length + 1}) var<uniform> p: Params;
${kernel.declarations ?? ""}
@compute @workgroup_size(${kernel.size})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
${kernel.body()}
}`;
}

/** Packs numbers as the struct of `kernel` lays them out. */
export function writeParams<P extends string>(kernel: Kernel<P>, values: Record<P, number>, at: DataView): void {
  const params: Readonly<Record<string, ParamType>> = kernel.params;
  const numbers: Readonly<Record<string, number>> = values;
  for (const [i, [name, type]] of Object.entries(params).entries()) {
    if (type === "u32") at.setUint32(4 * i, numbers[name]!, true);
    else at.setFloat32(4 * i, numbers[name]!, true);
  }
}

/** Compiles each kernel once. */
export class Pipelines {
  readonly #device: Device;
  readonly #layouts = new Map<number, GPUBindGroupLayout>();
  readonly #pipelines = new Map<string, GPUComputePipeline>();

  constructor(device: Device) {
    this.#device = device;
  }

  /** Compiles those of `kernels` that are new. @throws GpuError with the compiler's words. */
  async prepare(kernels: Iterable<Kernel>): Promise<void> {
    const missing = new Map<string, Kernel>();
    for (const kernel of kernels) if (!this.#pipelines.has(kernel.key)) missing.set(kernel.key, kernel);
    await Promise.all(
      Array.from(missing.values(), async (kernel) => {
        this.#pipelines.set(kernel.key, await this.#compile(kernel));
      }),
    );
  }

  /** A pipeline that `prepare` compiled. */
  get(kernel: Kernel): GPUComputePipeline {
    const pipeline = this.#pipelines.get(kernel.key);
    if (pipeline === undefined) throw new GpuError(`kernel ${kernel.key} was not prepared`);
    return pipeline;
  }

  /** Bindings of a kernel that reads `reads` buffers. */
  layout(reads: number): GPUBindGroupLayout {
    let layout = this.#layouts.get(reads);
    if (layout === undefined) {
      const types: GPUBufferBindingType[] = [
        ...Array<"read-only-storage">(reads).fill("read-only-storage"),
        "storage",
        "uniform",
      ];
      const compute = 0x4; // GPUShaderStage.COMPUTE
      layout = this.#device.gpu.createBindGroupLayout({
        entries: types.map((type, binding) => ({ binding, visibility: compute, buffer: { type } })),
      });
      this.#layouts.set(reads, layout);
    }
    return layout;
  }

  async #compile(kernel: Kernel): Promise<GPUComputePipeline> {
    const { gpu } = this.#device;
    const module = gpu.createShaderModule({ code: source(kernel), label: kernel.key });
    const layout = gpu.createPipelineLayout({ bindGroupLayouts: [this.layout(Object.keys(kernel.reads).length)] });
    try {
      return await awaitGpu(gpu.createComputePipelineAsync({ label: kernel.key, layout, compute: { module } }));
    } catch (cause) {
      await this.#device.settle(); // throws what the compiler said about the module
      throw new GpuError(`kernel ${kernel.key} does not compile: ${cause instanceof Error ? cause.message : cause}`);
    }
  }
}
