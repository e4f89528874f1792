// Matrix products by a native library: the CPU kernels of ONNX Runtime (MLAS), where npm `onnxruntime-node` is installed.
// They use what the processor has (AVX2, AVX-512, NEON), so that their bits differ from one kind to another.
import { createRequire } from "node:module";
import type * as Runtime from "onnxruntime-node";
import { gemmModel } from "./onnx-gemm.ts";
import { WIDEN_KERNEL } from "./simd-kernels.ts";

export interface OnnxRuntime {
  readonly name: string;
  /** The file that `require` loads. */
  readonly path: string;
  /** y = x · wᵀ in ONNX. */
  readonly model: Uint8Array;
  /** `widen` of simd-kernels.ts. */
  readonly widener: WebAssembly.Module;
}

/** A library, or why there is none. */
export type OnnxSearch = { readonly library: OnnxRuntime } | { readonly library: null; readonly reason: string };

const PACKAGE = "onnxruntime-node";

/**
 * From 1.29 on the library reports on its use to its maker unless this is set before it is first loaded, and keeps a file for that
 * in the user's cache, or beside where the command runs. Native code sees what the main thread sets, not what others do. Whoever
 * wants the reports sets it to 0.
 */
function refuseTelemetry(): void {
  process.env.ORT_DISABLE_TELEMETRY ??= "1";
}

/**
 * Loads what is installed, if anything is.
 * @param beside the module whose packages are looked through: this one, unless a test has others
 */
export function findOnnx(beside = import.meta.url): OnnxSearch {
  const require = createRequire(beside);
  let path: string;
  try {
    path = require.resolve(PACKAGE);
  } catch {
    return { library: null, reason: `npm package ${PACKAGE} is not installed` };
  }
  refuseTelemetry();
  try {
    const { env } = require(path) as typeof import("onnxruntime-node");
    const widener = new WebAssembly.Module(Buffer.from(WIDEN_KERNEL, "base64"));
    return { library: { name: `ONNX Runtime ${env.versions.node ?? ""}`.trim(), path, model: gemmModel(), widener } };
  } catch (error) {
    return { library: null, reason: `npm package ${PACKAGE} does not load: ${String(error).split("\n")[0]}` };
  }
}

/** Part of y = x · Wᵀ + b. Arrays are shared; the library takes none that are, so a thread copies what it needs. */
export interface OnnxJob {
  readonly kind: "onnx";
  /** Rows of x [rows, depth], and where they begin. */
  readonly x: Float32Array;
  readonly xBegin: number;
  readonly rows: number;
  readonly depth: number;
  /** x is not that of this thread's last job. */
  readonly xIsNew: boolean;
  /** Rows [begin, end) of W as they are stored: bf16 in Uint16Array. */
  readonly weights: Float32Array | Uint16Array;
  readonly begin: number;
  readonly end: number;
  readonly out: Float32Array;
  /** Elements in a row of `out`; index in it of what the first row of x and the first of `weights` make. */
  readonly outWidth: number;
  readonly outBegin: number;
  /** One value per row of `weights`. */
  readonly bias: Float32Array | null;
}

/**
 * Makes what runs jobs, in a thread of its own. It names nothing outside itself: a worker gets its text.
 * @param load `require`
 */
export function onnxRunner(
  { path, model, widener }: OnnxRuntime,
  load: (path: string) => unknown,
): (job: OnnxJob) => Promise<void> {
  const { env, InferenceSession, Tensor } = load(path) as typeof Runtime;
  // It warns on stderr of GPUs that it did not find.
  env.logLevel = "error";
  const session = InferenceSession.create(model, { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 });
  const { memory, widen } = new WebAssembly.Instance(widener, {}).exports as {
    memory: WebAssembly.Memory;
    widen: (from: number, to: number, count: number) => void;
  };
  const vectors = (count: number) => 8 * Math.ceil(count / 8);
  const reserve = (bytes: number) => {
    const missing = bytes - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / 65_536));
  };

  return async ({ x, xBegin, rows, depth, xIsNew, weights, begin, end, out, outWidth, outBegin, bias }) => {
    const count = end - begin;
    // x, W as it is stored, W in f32, y
    const sizes = [4 * vectors(rows * depth), 2 * vectors(count * depth), 4 * vectors(count * depth), 4 * rows * count];
    const at = sizes.map((_, i) => sizes.slice(0, i).reduce((sum, n) => sum + n, 0));
    reserve(at[3]! + sizes[3]!);
    const floats = (part: number, length: number) => new Float32Array(memory.buffer, at[part], length);
    const [ownX, w, y] = [floats(0, rows * depth), floats(2, count * depth), floats(3, rows * count)];
    if (xIsNew) ownX.set(x.subarray(xBegin, xBegin + rows * depth));
    const stored = weights.subarray(begin * depth, end * depth);
    if (stored instanceof Float32Array) w.set(stored);
    else {
      new Uint16Array(memory.buffer, at[1], count * depth).set(stored);
      widen(at[1]!, at[2]!, vectors(count * depth));
    }
    await (await session).run(
      { x: new Tensor("float32", ownX, [rows, depth]), w: new Tensor("float32", w, [count, depth]) },
      { y: new Tensor("float32", y, [rows, count]) },
    );
    for (let t = 0; t < rows; t++) {
      const row = y.subarray(t * count, (t + 1) * count);
      if (bias) for (let i = 0; i < count; i++) row[i]! += bias[begin + i]!;
      out.set(row, outBegin + t * outWidth + begin);
    }
  };
}
