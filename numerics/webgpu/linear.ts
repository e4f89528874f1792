// x · Wᵀ + b with W read in windows of rows, each a range of columns of the result.
import { EnvironmentError } from "../../src/errors.ts";
import { gemmFor, type KernelTraits, type LinearSizes } from "./choice.ts";
import { pad } from "./kernels/copy.ts";
import { flatSize } from "./kernels/elementwise.ts";
import { type GemmKernel, kAlignment, type Packing } from "./kernels/gemm.ts";
import { Storage } from "./node.ts";
import { alignment, alignUp, type Binding, grid, maxGroups } from "./queue.ts";
import { part, type Runner, type Source, type Step, sendFloats, whole } from "./step.ts";
import { packingOf, type WeightView } from "./weights.ts";

/** [begin, end) ranges of at most `most` out of `count`; all but the last are multiples of `multiple`. */
function* ranges(count: number, most: number, multiple: number): Generator<readonly [number, number]> {
  const step = most >= count ? count : Math.floor(most / multiple) * multiple;
  if (step === 0 && count > 0) {
    throw new EnvironmentError("GPU_TENSOR_TOO_LARGE", "a row is longer than this GPU lets a kernel see", {
      help: "take --backend wasm",
    });
  }
  for (let begin = 0; begin < count; begin += step) yield [begin, Math.min(count, begin + step)];
}

/** Fewest rows whose bytes are a multiple of the alignment of bindings. */
function alignedRows(rowBytes: number): number {
  let rows = 1;
  while ((rows * rowBytes) % alignment !== 0) rows *= 2;
  return rows;
}

export interface LinearOperands {
  readonly x: Storage;
  readonly weight: Source;
  readonly bias: Source | undefined;
}

export function linearStep(traits: KernelTraits, operands: LinearOperands, sizes: LinearSizes, output: Storage): Step {
  const { x, weight, bias } = operands;
  const { rows, inputs, outputs } = sizes;
  const packing = weight instanceof Storage ? "f32" : packingOf(weight.source);
  const kernel = gemmFor(traits, sizes, packing, bias !== undefined);
  const depth = alignUp(inputs, kAlignment);
  const rowBytes = depth * (packing === "f32" ? 4 : 2);
  return {
    inputs: [x, weight, ...(bias === undefined ? [] : [bias])],
    output,
    kernels: depth === inputs ? [kernel] : [kernel, pad],
    uploadBytes: weight instanceof Storage ? 0 : outputs * (rowBytes + 4),
    async run(runner) {
      const xPadded = widened(runner, x, rows, inputs, depth);
      const wPadded = weight instanceof Storage ? widened(runner, weight, outputs, inputs, depth) : weight;
      const multiple = weight instanceof Storage ? alignedRows(rowBytes) : 1;
      const most = Math.min(Math.floor(runner.windowBytes / rowBytes), maxGroups * kernel.tile[1]);
      for (const [begin, end] of ranges(outputs, Math.max(multiple, most), multiple)) {
        const extent = { ...sizes, depth, packing, begin, end };
        const window = await bindWindow(runner, wPadded, bias, extent);
        multiply(runner, kernel, xPadded, window, extent, output);
      }
      for (const scratch of [xPadded, wPadded]) {
        if (scratch !== x && scratch !== weight && scratch instanceof Storage) runner.memory.give(scratch.buffer!);
      }
    },
  };
}

/** The same rows with zeros behind, in scratch memory; `x` itself where rows have that size. */
function widened(runner: Runner, x: Storage, rows: number, width: number, padded: number): Storage {
  if (width === padded) return x;
  const scratch = new Storage(rows * padded);
  scratch.buffer = runner.memory.take(scratch.bytes);
  const count = scratch.elements;
  runner.queue.dispatch(
    pad,
    [whole(runner, x), whole(runner, scratch)],
    { count, width, padded },
    grid(Math.ceil(count / flatSize)),
  );
  return scratch;
}

interface Window {
  readonly weight: Binding;
  readonly bias: Binding | undefined;
  /** Index in `bias` of the window's first row. */
  readonly biasBegin: number;
}

/** A window of rows [begin, end) of the weight, which makes these columns of the result. */
interface Extent extends LinearSizes {
  /** Padded `inputs`. */
  readonly depth: number;
  readonly packing: Packing;
  readonly begin: number;
  readonly end: number;
}

/** The window's part of weight and bias, sent now unless they are activations. */
async function bindWindow(runner: Runner, weight: Source, bias: Source | undefined, extent: Extent): Promise<Window> {
  const { begin, end, depth, packing } = extent;
  const bytes = (end - begin) * depth * (packing === "f32" ? 4 : 2);
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
  const rowBytes = depth * (packing === "f32" ? 4 : 2);
  return queue.upload((end - begin) * rowBytes, rowBytes, (at, piece) => {
    const layout = { rows: piece.byteLength / rowBytes, width: inputs, pitch: depth, packing };
    reader.read(view, (begin + at / rowBytes) * inputs, layout, piece);
  });
}

/** Columns [begin, end) of the result, in ranges of rows that a kernel can see. */
function multiply(
  runner: Runner,
  kernel: GemmKernel,
  x: Storage,
  window: Window,
  extent: Extent,
  output: Storage,
): void {
  const { rows, outputs, depth, begin, end } = extent;
  const multiple = Math.max(alignedRows(4 * depth), alignedRows(4 * outputs));
  const most = Math.min(Math.floor(runner.bindingBytes / (4 * Math.max(depth, outputs))), maxGroups * kernel.tile[0]);
  for (const [first, last] of ranges(rows, most, multiple)) {
    const count = last - first;
    const bindings = [
      part(x, 4 * first * depth, 4 * count * depth),
      window.weight,
      ...(window.bias === undefined ? [] : [window.bias]),
      part(output, 4 * first * outputs, 4 * count * outputs),
    ];
    const params = { rows: count, columns: end - begin, depth, stride: outputs, column: begin, bias: window.biasBegin };
    const groups = [Math.ceil((end - begin) / kernel.tile[1]), Math.ceil(count / kernel.tile[0])] as const;
    runner.queue.dispatch(kernel, bindings, params, groups);
  }
}
