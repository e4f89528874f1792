// x · Wᵀ + b on matrix units: x and each window of W become blocks of f16 on the device, which are multiplied.
import type { LinearSizes } from "./choice.ts";
import { flatSize } from "./kernels/elementwise.ts";
import { kAlignment, type Packing } from "./kernels/gemm.ts";
import { type MatrixGemmOptions, matrixGemm, weightParts } from "./kernels/gemm-matrix.ts";
import { rowExponents, splitRows } from "./kernels/split.ts";
import { Storage } from "./node.ts";
import { alignUp, type Binding, grid, maxGroups } from "./queue.ts";
import { part, type Runner, type Source, type Step, whole } from "./step.ts";
import type { WeightView } from "./weights.ts";
import { alignedRows, bindWindow, bytesOf, ranges } from "./windows.ts";

interface MatrixOperands {
  readonly x: Storage;
  readonly weight: WeightView;
  readonly bias: Source | undefined;
}

/** Kernels that split one side of the product. */
interface Splitter {
  readonly packing: Packing;
  readonly exponents: ReturnType<typeof rowExponents>;
  readonly split: ReturnType<typeof splitRows>;
  readonly parts: number;
  /** Rows of a tile, and elements of K of a block: what `rows` and `width` are padded to. */
  readonly tileRows: number;
  readonly blockDepth: number;
}

/** One side of the product as `splitRows` makes it, in scratch memory. */
interface Split {
  readonly parts: Storage;
  readonly exponents: Storage;
}

/** Rows as they lie: elements that count, and from row to row. */
interface Rows {
  readonly rows: number;
  readonly width: number;
  readonly pitch: number;
}

export function matrixStep(
  options: MatrixGemmOptions,
  { x, weight, bias }: MatrixOperands,
  sizes: LinearSizes,
  output: Storage,
): Step {
  const { packing, shape } = options;
  const { rows, inputs, outputs } = sizes;
  const kernel = matrixGemm(options);
  const left = splitterFor("f32", 2, kernel.tile[0], [shape.M, shape.K]);
  const right = splitterFor(packing, weightParts(packing), kernel.tile[1], [shape.N, shape.K]);
  const depth = alignUp(inputs, Math.max(kAlignment, shape.K));
  const rowBytes = depth * bytesOf(packing);
  return {
    inputs: [x, weight, ...(bias === undefined ? [] : [bias])],
    output,
    kernels: [kernel, left.exponents, left.split, right.exponents, right.split],
    uploadBytes: outputs * (rowBytes + 4),
    async run(runner) {
      const visible = Math.floor(runner.bindingBytes / (4 * Math.max(depth, outputs))) - kernel.tile[0];
      const multiple = Math.max(alignedRows(4 * inputs), alignedRows(4 * outputs));
      const xs = Array.from(ranges(rows, Math.min(visible, maxGroups * kernel.tile[0]), multiple), ([first, last]) => {
        const count = last - first;
        const given = part(x, 4 * first * inputs, 4 * count * inputs);
        return { first, count, split: split(runner, left, given, { rows: count, width: inputs, pitch: inputs }) };
      });
      const most = Math.min(Math.floor(runner.windowBytes / rowBytes), maxGroups * kernel.tile[1]);
      for (const [begin, end] of ranges(outputs, Math.max(1, most), 1)) {
        const window = await bindWindow(runner, weight, bias, { ...sizes, depth, packing, begin, end });
        const columns = end - begin;
        const w = split(runner, right, window.weight, { rows: columns, width: inputs, pitch: depth });
        for (const { first, count, split: x } of xs) {
          const sources = [x.parts, w.parts, x.exponents, w.exponents].map((storage) => whole(runner, storage));
          const bindings = [
            ...sources,
            ...(window.bias === undefined ? [] : [window.bias]),
            part(output, 4 * first * outputs, 4 * count * outputs),
          ];
          const params = { rows: count, columns, depth, stride: outputs, column: begin, bias: window.biasBegin };
          const groups = [Math.ceil(columns / kernel.tile[1]), Math.ceil(count / kernel.tile[0])] as const;
          runner.queue.dispatch(kernel, bindings, params, groups);
        }
        give(runner, w);
      }
      for (const { split } of xs) give(runner, split);
    },
  };
}

const splitterFor = (packing: Packing, parts: 1 | 2, tileRows: number, block: readonly [number, number]): Splitter => ({
  packing,
  exponents: rowExponents(packing),
  split: splitRows({ packing, parts, block }),
  parts,
  tileRows,
  blockDepth: block[1],
});

function split(runner: Runner, splitter: Splitter, given: Binding, { rows, width, pitch }: Rows): Split {
  const depth = alignUp(width, splitter.blockDepth);
  const pairs = (alignUp(rows, splitter.tileRows) * depth) / 2;
  const exponents = take(runner, rows);
  const words = (pitch * bytesOf(splitter.packing)) / 4;
  runner.queue.dispatch(splitter.exponents, [given, whole(runner, exponents)], { rows, words }, grid(rows));
  const parts = take(runner, pairs * splitter.parts);
  runner.queue.dispatch(
    splitter.split,
    [given, whole(runner, exponents), whole(runner, parts)],
    { count: pairs, rows, width, pitch, steps: depth / splitter.blockDepth },
    grid(Math.ceil(pairs / flatSize)),
  );
  return { parts, exponents };
}

/** Scratch memory of so many words. */
function take(runner: Runner, words: number): Storage {
  const storage = new Storage(words);
  storage.buffer = runner.memory.take(storage.bytes);
  return storage;
}

function give(runner: Runner, { parts, exponents }: Split): void {
  for (const storage of [parts, exponents]) runner.memory.give(storage.buffer!);
}
