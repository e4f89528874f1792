// f32 on the CPU: WebAssembly SIMD in as many threads as there are cores. Matrix products have the bits of the subgroup
// kernels of WebGPU where those run without fused multiply-add (numerics/webgpu/kernels/gemm-subgroup.ts), unless a native
// library makes them.
import { CAPABILITIES } from "../capabilities.ts";
import type { Pointwise } from "../graph.ts";
import type { Arithmetic, AttentionOperands, AttentionSizes, LinearOperands } from "../js/arithmetic.ts";
import { JsBackend } from "../js/backend.ts";
import { map } from "../js/ops/pointwise.ts";
import { attentionScratch, CHUNK, FAST_POINTWISE, type PointwiseJob, pointwiseScratch } from "./jobs.ts";
import { kernelLinear } from "./kernel-linear.ts";
import type { OnnxRuntime } from "./onnx.ts";
import { onnxLinear } from "./onnx-linear.ts";
import { shares, Threads } from "./threads.ts";

/** Multiply-adds from which a library's product repays the copies it needs. */
const WORTH_LIBRARY = 1 << 22;
/** Of a pointwise map, in multiply-adds of a matrix product. */
const COST_OF_ELEMENT = 16;

export interface WasmOptions {
  /** As many as there are cores unless given. */
  readonly threads?: number;
  /** Multiplies large matrices; their bits are the library's then. */
  readonly library?: OnnxRuntime | null;
}

class F32Arithmetic implements Arithmetic<Float32Array> {
  readonly name = "wasm";
  readonly capabilities = CAPABILITIES.wasm;

  constructor(private readonly threads: Threads) {}

  get library(): string | null {
    return this.threads.library?.name ?? null;
  }

  get heldBytes(): number {
    return this.threads.bytes;
  }

  /** Shared, so that threads need no copies. */
  create(length: number): Float32Array {
    return new Float32Array(new SharedArrayBuffer(4 * length));
  }

  linear(operands: LinearOperands<Float32Array>, out: Float32Array): Promise<void> {
    const { T, O, I, summation } = operands;
    return this.threads.library !== null && summation === "usual" && T * O * I >= WORTH_LIBRARY
      ? onnxLinear(this.threads, operands, out)
      : kernelLinear(this.threads, operands, out);
  }

  async attention(operands: AttentionOperands<Float32Array>, sizes: AttentionSizes, out: Float32Array): Promise<void> {
    const { visible, ...given } = operands;
    const { T, N, K, H, C } = sizes;
    const all = [T, N, K, H, C] as const;
    const scratchBytes = attentionScratch(all);
    this.threads.reserve(this.threads.count * scratchBytes);
    const jobs = shares(N, 1, this.threads.count).map(([begin, end], i) => ({
      kind: "attention" as const,
      ...given,
      first: visible.begin,
      last: visible.end,
      sizes: all,
      begin,
      end,
      scratch: i * scratchBytes,
      out,
    }));
    await this.threads.run(jobs, T * T * N * (H + C));
  }

  map(f: Pointwise, x: Float32Array, out: Float32Array): void | Promise<void> {
    const fast = FAST_POINTWISE.find((name) => name === f);
    return fast ? this.pointwise(fast, x, null, out) : map(f, x, out);
  }

  combine(kind: "mul" | "add", a: Float32Array, b: Float32Array, out: Float32Array): Promise<void> {
    return this.pointwise(kind, a, b, out);
  }

  close(): Promise<void> {
    return this.threads.close();
  }

  private pointwise(f: PointwiseJob["f"], a: Float32Array, b: Float32Array | null, out: Float32Array): Promise<void> {
    this.threads.reserve(this.threads.count * pointwiseScratch);
    const jobs = shares(out.length, CHUNK, this.threads.count).map(
      ([begin, end], i): PointwiseJob => ({
        kind: "pointwise",
        f,
        a,
        b,
        out,
        begin,
        end,
        scratch: i * pointwiseScratch,
      }),
    );
    return this.threads.run(jobs, COST_OF_ELEMENT * out.length);
  }
}

export class WasmBackend extends JsBackend<Float32Array> {
  constructor({ threads, library }: WasmOptions = {}) {
    super(new F32Arithmetic(new Threads(threads, library)));
  }
}
