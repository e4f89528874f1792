// x · Wᵀ + b with W read in windows of rows, each a range of columns of the result.
import { EnvironmentError } from "../../src/errors.ts";
import type { KernelFamily } from "./adapter.ts";
import { pad } from "./kernels/copy.ts";
import { flatSize } from "./kernels/elementwise.ts";
import { type GemmKernel, kAlignment, type Packing } from "./kernels/gemm.ts";
import { subgroupGemm } from "./kernels/gemm-subgroup.ts";
import { type GemmTile, tileFor, tileGemm } from "./kernels/gemm-tile.ts";
import { Storage } from "./node.ts";
import { alignment, alignUp, type Binding, grid, maxGroups } from "./queue.ts";
import { part, type Runner, type Source, type Step, sendFloats, whole } from "./step.ts";
import { packingOf, type WeightView } from "./weights.ts";

/** What the choice of a kernel depends on. */
export interface KernelTraits {
  readonly family: KernelFamily;
  readonly subgroupSize: number;
  readonly workgroupMemoryBytes: number;
  /** Tiles of `tileGemm`, if not those that suit a real GPU. */
  readonly gemmTile?: GemmTile;
}

export interface LinearSizes {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
}

/** Multiply-adds from which 32 rows a subgroup repay their longer compilation (lavapipe). */
const manyProducts = 2 ** 27;

export function gemmFor(
  traits: KernelTraits,
  { rows, inputs, outputs }: LinearSizes,
  packing: Packing,
  hasBias: boolean,
): GemmKernel {
  if (traits.family === "tile") {
    return tileGemm({ packing, hasBias, ...(traits.gemmTile ?? tileFor(rows, traits.workgroupMemoryBytes)) });
  }
  const isLarge = rows >= 64 && rows * inputs * outputs >= manyProducts;
  // 16 rows of bf16, 32 of f32: more spill registers.
  const tileRows = packing === "f32" && isLarge ? 32 : 16;
  return subgroupGemm({ packing, hasBias, subgroupSize: traits.subgroupSize, tileRows });
}

/** [begin, end) ranges of at most `most` out of `count`; all but the last are multiples of `multiple`. */
function* ranges(count: number, most: number, multiple: number): Generator<readonly [number, number]> {
  const step = most >= count ? count : Math.floor(most / multiple) * multiple;
  if (step === 0 && count > 0) {
    throw new EnvironmentError(
      "GPU_TENSOR_TOO_LARGE",
      "rows of an activation are longer than this GPU lets a kernel see",
      {
        help: "take --backend cpu",
      },
    );
  }
  for (let begin = 0; begin < count; begin += step) yield [begin, Math.min(count, begin + step)];
}

/** Fewest rows whose bytes are a multiple of the alignment of bindings. */
function alignedRows(rowBytes: number): number {
  let rows = 1;
  while ((rows * rowBytes) % alignment !== 0) rows *= 2;
  return rows;
}

export function linearStep(
  traits: KernelTraits,
  x: Storage,
  weight: Source,
  bias: Source | undefined,
  sizes: LinearSizes,
  output: Storage,
): Step {
  const packing = weight instanceof Storage ? "f32" : packingOf(weight.source);
  const kernel = gemmFor(traits, sizes, packing, bias !== undefined);
  const depth = alignUp(sizes.inputs, kAlignment);
  const rowBytes = depth * (packing === "f32" ? 4 : 2);
  const isPadded = depth !== sizes.inputs;
  return {
    inputs: [x, weight, ...(bias === undefined ? [] : [bias])],
    output,
    kernels: isPadded ? [kernel, pad] : [kernel],
    uploadBytes: weight instanceof Storage ? 0 : sizes.outputs * (rowBytes + 4),
    async run(runner) {
      const xPadded = widened(runner, x, sizes.rows, sizes.inputs, depth);
      const wPadded = weight instanceof Storage ? widened(runner, weight, sizes.outputs, sizes.inputs, depth) : weight;
      const most = Math.min(runner.windowBytes / rowBytes, maxGroups * kernel.tile[1]);
      const multiple = weight instanceof Storage ? alignedRows(rowBytes) : 1;
      for (const [begin, end] of ranges(sizes.outputs, Math.max(multiple, Math.floor(most)), multiple)) {
        const window = await bindWindow(runner, {
          weight: wPadded,
          bias,
          begin,
          end,
          width: sizes.inputs,
          depth,
          packing,
        });
        multiply(runner, kernel, xPadded, window, { ...sizes, depth, begin, end }, output);
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

interface WindowRequest {
  readonly weight: Source;
  readonly bias: Source | undefined;
  readonly begin: number;
  readonly end: number;
  /** Elements in a row of the weight, and in a row on the device. */
  readonly width: number;
  readonly depth: number;
  readonly packing: Packing;
}

/** Rows [begin, end) of the weight and the bias, sent now unless they are activations. */
async function bindWindow(runner: Runner, request: WindowRequest): Promise<Window> {
  const { weight, bias, begin, end, depth, packing } = request;
  const bytes = (end - begin) * depth * (packing === "f32" ? 4 : 2);
  const sentBias = bias instanceof Storage ? undefined : bias;
  const need =
    (weight instanceof Storage ? 0 : alignUp(bytes)) + (sentBias === undefined ? 0 : alignUp(4 * (end - begin)));
  await runner.queue.reserve(need);
  return {
    weight: weight instanceof Storage ? part(weight, 4 * begin * depth, bytes) : sendRows(runner, weight, request),
    bias: bias instanceof Storage ? whole(runner, bias) : sentBias && sendFloats(runner, sentBias, begin, end - begin),
    biasBegin: bias instanceof Storage ? begin : 0,
  };
}

function sendRows(
  { queue, reader }: Runner,
  view: WeightView,
  { begin, end, width, depth, packing }: WindowRequest,
): Binding {
  const rowBytes = depth * (packing === "f32" ? 4 : 2);
  return queue.upload((end - begin) * rowBytes, rowBytes, (at, piece) => {
    reader.read(view, (begin + at / rowBytes) * width, piece.byteLength / rowBytes, width, depth, packing, piece);
  });
}

interface Extent extends LinearSizes {
  readonly depth: number;
  readonly begin: number;
  readonly end: number;
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
