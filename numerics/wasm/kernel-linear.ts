// x · Wᵀ + b by our own kernels: W is read in windows of rows, each while the one before is at work.
import { SHORT_CHAIN } from "../graph.ts";
import type { LinearOperands } from "../js/arithmetic.ts";
import { decode } from "../js/decode.ts";
import { CHAIN, type LinearJob, linearScratch, X_BLOCK } from "./jobs.ts";
import { shares, type Threads } from "./threads.ts";

/** Bytes of x in the shared memory at a time, and of W; there are two windows of W. 512 tokens of 16,384 channels fit. */
const X_BYTES = 32 << 20;
const WINDOW_BYTES = 4 << 20;

type Linear = LinearOperands<Float32Array>;

/** What lies where in the shared memory: a block of x, two windows of W, and what each thread needs. */
interface LinearPlan {
  /** Elements of a row of x and W, zeros behind what they hold. */
  readonly depth: number;
  readonly elementBytes: 2 | 4;
  /** Rows of x, and of W, that are there at a time. */
  readonly rows: number;
  readonly columns: number;
  readonly windows: readonly [number, number];
  readonly scratch: number;
  readonly scratchBytes: number;
  readonly bytes: number;
}

const padded = (n: number, multiple: number): number => multiple * Math.ceil(n / multiple);

/** Of W where threads see it: bf16 stays as it is stored, all else is f32. */
export const elementBytesOf = (weight: Linear["weight"]): 2 | 4 =>
  weight instanceof Float32Array || weight.source.dtype !== "BF16" ? 4 : 2;

function planLinear({ T, O, I, weight }: Linear, threads: number): LinearPlan {
  const depth = padded(I, 8);
  const elementBytes = elementBytesOf(weight);
  const blocks = Math.ceil(T / (6 * Math.max(1, Math.floor(X_BYTES / (24 * depth)))));
  const rows = Math.min(T, padded(Math.ceil(T / blocks), 6));
  const columns = Math.min(padded(O, 8), 8 * Math.max(1, Math.floor(WINDOW_BYTES / (8 * elementBytes * depth))));
  const windowBytes = columns * elementBytes * depth;
  const first = padded(rows, 6) * 4 * depth;
  const scratch = first + 2 * windowBytes;
  const scratchBytes = linearScratch(depth, rows);
  const bytes = scratch + threads * scratchBytes;
  return { depth, elementBytes, rows, columns, windows: [first, first + windowBytes], scratch, scratchBytes, bytes };
}

/** Rows of x from `row` on, in blocks of columns. */
function loadX({ x, T, I }: Linear, { rows, depth }: LinearPlan, row: number, target: Uint8Array): void {
  const count = Math.min(rows, T - row);
  const whole = padded(count, 6);
  for (let k = 0; k < depth; k += X_BLOCK) {
    const width = Math.min(X_BLOCK, depth - k);
    const block = new Float32Array(target.buffer, target.byteOffset + 4 * whole * k, count * width);
    if (k + width > I) block.fill(0);
    for (let t = 0; t < count; t++) {
      const at = (row + t) * I;
      block.set(x.subarray(at + k, at + Math.min(k + width, I)), t * width);
    }
  }
}

/** Rows of W from `row` on: bf16 as they are stored, all else as f32. */
function loadWeights({ weight, O, I }: Linear, plan: LinearPlan, row: number, target: Uint8Array): void {
  const { columns, depth, elementBytes } = plan;
  const count = Math.min(columns, O - row);
  if (weight instanceof Float32Array) {
    const values = new Float32Array(target.buffer, target.byteOffset, count * depth);
    spread(weight.subarray(row * I, (row + count) * I), I, depth, values);
    return;
  }
  const { source, begin } = weight;
  const read = (first: number, length: number, at: number) => {
    if (elementBytes === 4) decode(source, first, new Float32Array(target.buffer, target.byteOffset + 4 * at, length));
    else source.read(2 * first, target.subarray(2 * at, 2 * (at + length)));
  };
  if (depth === I) read(begin + row * I, count * I, 0);
  else {
    target.fill(0, 0, count * elementBytes * depth);
    for (let r = 0; r < count; r++) read(begin + (row + r) * I, I, r * depth);
  }
}

/** Rows of `width` become rows of `pitch`, zeros behind. */
function spread(from: Float32Array, width: number, pitch: number, to: Float32Array): void {
  if (width === pitch) {
    to.set(from);
    return;
  }
  to.fill(0);
  for (let r = 0; r * width < from.length; r++) to.set(from.subarray(r * width, (r + 1) * width), r * pitch);
}

export async function kernelLinear(threads: Threads, operands: Linear, out: Float32Array): Promise<void> {
  const { T, O } = operands;
  const plan = planLinear(operands, threads.count);
  const { depth, rows, columns, windows } = plan;
  const memory = threads.reserve(plan.bytes);
  loadWeights(operands, plan, 0, memory.subarray(windows[0]));
  loadX(operands, plan, 0, memory);
  for (let begin = 0, window = 0; begin < O; begin += columns, window = 1 - window) {
    const count = Math.min(columns, O - begin);
    for (let row = 0; row < T; row += rows) {
      if (rows < T && begin + row > 0) loadX(operands, plan, row, memory);
      const height = Math.min(rows, T - row);
      const jobs = shares(count, 8, threads.count).map(
        ([first, end], i): LinearJob => ({
          kind: "linear",
          x: 0,
          rows: height,
          weights: windows[window]!,
          elementBytes: plan.elementBytes,
          depth,
          chain: operands.summation === "short" ? SHORT_CHAIN : CHAIN,
          begin: first,
          end,
          scratch: plan.scratch + i * plan.scratchBytes,
          out,
          outWidth: O,
          outRow: row,
          outColumn: begin,
          bias: operands.bias,
        }),
      );
      const done = threads.run(jobs, height * count * depth);
      const next = begin + columns;
      try {
        if (row === 0 && next < O) loadWeights(operands, plan, next, memory.subarray(windows[1 - window]));
      } finally {
        await done;
      }
    }
  }
}
