// Whether products run on the adapter's matrix units: offered, wanted, and found to compute what they should.
import { EnvironmentError } from "../../../src/base/errors.ts";
import type { Backend, WeightSource } from "../../backend.ts";
import type { Node } from "../../graph.ts";
import { adapterName, kernelsFor, matrixShapeOf, requestAdapter, requestMatrixAdapter } from "./adapter.ts";
import type { MatrixShape } from "./description.ts";

export type FoundMatrices = { readonly adapter: GPUAdapter; readonly shape: MatrixShape } | { readonly unused: string };

/** `never`: for a driver that crashes on them. `always`: on software adapters, too, where they are slow. */
const setting = "CONVERT_CHECKPOINT_SUBGROUP_MATRICES";

/** @throws EnvironmentError NO_GPU_ADAPTER, WEBGPU_NOT_LOADABLE, SETTING_UNKNOWN */
export async function findMatrices(): Promise<FoundMatrices> {
  const wish = process.env[setting] ?? "";
  if (!["", "never", "always"].includes(wish)) {
    throw new EnvironmentError("SETTING_UNKNOWN", `${setting} is ${JSON.stringify(wish)}`, {
      help: "set it to `never` or `always`, or unset it",
    });
  }
  if (wish === "never") return { unused: `${setting}=never` };
  const plain = await requestAdapter();
  if (kernelsFor(plain) !== "tile" && wish !== "always") return { unused: "slower than subgroup kernels on the CPU" };
  const adapter = await requestMatrixAdapter();
  const shape = adapter && matrixShapeOf(adapter);
  if (!adapter || !shape || adapterName(adapter) !== adapterName(plain)) {
    return { unused: "this adapter offers none of f16 with sums in f32" };
  }
  return { adapter, shape };
}

/** Sizes of the product that is checked: two chains of K and a rest, no multiple of any tile. */
const [rows, inputs, outputs] = [37, 530, 70];
/**
 * Largest |y - ŷ| / Σ |x w|: eight times what f32 makes of these sums, as matrix units may cut off where f32 rounds; one
 * part of each operand alone makes a hundred times as much.
 */
const tolerance = 2 ** -17;

/**
 * A small product with outliers, weights in bf16 and in f32, against f64: in the wild are drivers that nobody tried.
 * @returns what is wrong, if something is
 */
export async function checkProducts<N extends Node>(backend: Backend<N>): Promise<string | undefined> {
  const x = spread(rows * inputs, 1);
  x[3 * inputs + 5] = Number.NaN;
  const bias = spread(outputs, 2);
  for (const dtype of ["BF16", "F32"] as const) {
    const w = dtype === "F32" ? spread(outputs * inputs, 3) : cut(spread(outputs * inputs, 3));
    // A weight that meets zeros only must not cost the others of its row their digits, or their being.
    for (let m = 0; m < rows; m++) x[m * inputs + 11] = 0;
    w[5 * inputs + 11] = dtype === "F32" ? 2 ** 14 : 2 ** 18;
    const [xNode, biasNode] = [backend.weight(stored(x, [rows, inputs])), backend.weight(stored(bias, [outputs]))];
    const y = backend.ops.linear(xNode, backend.weight(stored(w, [outputs, inputs], dtype)), biasNode);
    await backend.evaluate([y]);
    const error = largestError(await backend.readback(y), x, w, bias);
    if (!(error <= tolerance)) return `a product of ${dtype} weights is ${error.toExponential(1)} off`;
  }
  return undefined;
}

/** Relative to the sum of |products|; infinite where NaN is missing or unexpected. */
function largestError(y: ArrayLike<number>, x: Float32Array, w: Float32Array, bias: Float32Array): number {
  let largest = 0;
  for (let at = 0; at < rows * outputs; at++) {
    const [m, n] = [Math.floor(at / outputs), at % outputs];
    let [sum, size] = [bias[n]!, Math.abs(bias[n]!)];
    for (let k = 0; k < inputs; k++) {
      const product = x[m * inputs + k]! * w[n * inputs + k]!;
      sum += product;
      size += Math.abs(product);
    }
    const error = Number.isNaN(sum) && Number.isNaN(y[at]) ? 0 : Math.abs(y[at]! - sum) / size;
    if (Number.isNaN(error)) return Number.POSITIVE_INFINITY;
    largest = Math.max(largest, error);
  }
  return largest;
}

/** Values of both signs from 2^-24 to 1, most of them near 1, and one in 97 a thousand times as large. */
function spread(count: number, seed: number): Float32Array {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Float32Array.from({ length: count }, (_, i) => {
    const size = 2 ** (-24 * uniform() ** 4) * (i % 97 === 0 ? 1000 : 1);
    return (uniform() - 0.5) * size;
  });
}

/** The upper halves: bf16. */
const cut = (values: Float32Array): Float32Array =>
  new Float32Array(new Uint32Array(values.buffer).map((word) => word & 0xffff0000).buffer);

/** f32 values as a weight; BF16 keeps their upper halves. */
function stored(values: Float32Array, shape: readonly number[], dtype: "F32" | "BF16" = "F32"): WeightSource {
  const words = new Uint32Array(values.buffer);
  const kept = dtype === "F32" ? words : Uint16Array.from(words, (word) => word >>> 16);
  const bytes = new Uint8Array(kept.buffer);
  return {
    key: "check",
    dtype,
    shape,
    read: (begin, target) => target.set(bytes.subarray(begin, begin + target.length)),
  };
}
