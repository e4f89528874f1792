// Weights and rows in the parts that are sent, and that a kernel sees, at a time.
import { EnvironmentError } from "../../src/base/errors.ts";
import type { LinearSizes } from "./choice.ts";
import type { Packing } from "./kernels/gemm.ts";
import { Storage } from "./node.ts";
import { alignment, alignUp, type Binding } from "./queue.ts";
import { part, type Runner, type Source, sendFloats, whole } from "./step.ts";
import type { WeightView } from "./weights.ts";

/** [begin, end) ranges of at most `most` out of `count`; all but the last are multiples of `multiple`. */
export function* ranges(count: number, most: number, multiple: number): Generator<readonly [number, number]> {
  const step = most >= count ? count : Math.floor(most / multiple) * multiple;
  if (step <= 0 && count > 0) {
    throw new EnvironmentError("GPU_TENSOR_TOO_LARGE", "a row is longer than this GPU lets a kernel see", {
      help: "take --backend wasm",
    });
  }
  for (let begin = 0; begin < count; begin += step) yield [begin, Math.min(count, begin + step)];
}

/** Fewest rows whose bytes are a multiple of the alignment of bindings. */
export function alignedRows(rowBytes: number): number {
  let rows = 1;
  while ((rows * rowBytes) % alignment !== 0) rows *= 2;
  return rows;
}

export interface Window {
  readonly weight: Binding;
  readonly bias: Binding | undefined;
  /** Index in `bias` of the window's first row. */
  readonly biasBegin: number;
}

/** A window of rows [begin, end) of the weight, which makes these columns of the result. */
export interface Extent extends LinearSizes {
  /** Padded `inputs`. */
  readonly depth: number;
  readonly packing: Packing;
  readonly begin: number;
  readonly end: number;
}

export const bytesOf = (packing: Packing): number => (packing === "f32" ? 4 : 2);

/** The window's part of weight and bias, sent now unless they are activations. */
export async function bindWindow(
  runner: Runner,
  weight: Source,
  bias: Source | undefined,
  extent: Extent,
): Promise<Window> {
  const { begin, end, depth, packing } = extent;
  const bytes = (end - begin) * depth * bytesOf(packing);
  const sentBias = bias instanceof Storage ? undefined : bias;
  const weightNeed = weight instanceof Storage ? 0 : alignUp(bytes);
  const biasNeed = sentBias === undefined ? 0 : alignUp(4 * (end - begin));
  await runner.queue.reserve(weightNeed + biasNeed);
  return {
    weight: weight instanceof Storage ? part(weight, 4 * begin * depth, bytes) : sendRows(runner, weight, extent),
    bias: bias instanceof Storage ? whole(runner, bias) : sentBias && sendFloats(runner, sentBias, begin, end - begin),
    biasBegin: bias instanceof Storage ? begin : 0,
  };
}

function sendRows({ queue, reader }: Runner, view: WeightView, extent: Extent): Binding {
  const { begin, end, inputs, depth, packing } = extent;
  const rowBytes = depth * bytesOf(packing);
  return queue.upload((end - begin) * rowBytes, rowBytes, (at, piece) => {
    const layout = { rows: piece.byteLength / rowBytes, width: inputs, pitch: depth, packing };
    reader.read(view, (begin + at / rowBytes) * inputs, layout, piece);
  });
}
