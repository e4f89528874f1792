// x · Wᵀ + b by a native library: W is read in windows of rows, each while the one before is at work.
import type { LinearOperands } from "../js/arithmetic.ts";
import { decode } from "../js/decode.ts";
import type { WeightView } from "../js/node.ts";
import { elementBytesOf } from "./kernel-linear.ts";
import { shares, type Threads } from "./threads.ts";

/** Bytes of x that a thread copies at a time, and of a window of W; there are two windows. */
const X_BYTES = 32 << 20;
const WINDOW_BYTES = 4 << 20;

type Linear = LinearOperands<Float32Array>;
type Window = Float32Array | Uint16Array;

/** Reads rows [begin, end) of W into one of two windows; bf16 stays as it is stored, all else becomes f32. */
type ReadWindow = (begin: number, end: number, at: 0 | 1) => Window;

export async function onnxLinear(threads: Threads, operands: Linear, out: Float32Array): Promise<void> {
  const { x, weight, bias, T, O, I } = operands;
  const elementBytes = elementBytesOf(weight);
  const rows = Math.max(1, Math.min(T, Math.floor(X_BYTES / (4 * I))));
  const columns = Math.max(1, Math.min(O, Math.floor(WINDOW_BYTES / (elementBytes * I))));
  const read: ReadWindow =
    weight instanceof Float32Array
      ? (begin, end) => weight.subarray(begin * I, end * I)
      : windowsOf(threads, weight, { I, columns, elementBytes });
  let window = read(0, columns, 0);
  for (let begin = 0, at: 0 | 1 = 1; begin < O; begin += columns, at = at === 0 ? 1 : 0) {
    const count = Math.min(columns, O - begin);
    const next = begin + columns;
    let nextWindow = window;
    for (let row = 0; row < T; row += rows) {
      const done = threads.runOnnx(
        shares(count, 16, threads.count).map(([first, end]) => ({
          kind: "onnx",
          x,
          xBegin: row * I,
          rows: Math.min(rows, T - row),
          depth: I,
          xIsNew: begin === 0 || rows < T,
          weights: window,
          begin: first,
          end,
          out,
          outWidth: O,
          outBegin: row * O + begin,
          bias: bias?.subarray(begin, begin + count) ?? null,
        })),
      );
      try {
        if (row === 0 && next < O) nextWindow = read(next, Math.min(O, next + columns), at);
      } finally {
        await done;
      }
    }
    window = nextWindow;
  }
}

/** Two windows in the memory that threads share. */
function windowsOf(
  threads: Threads,
  { source, begin: first }: WeightView,
  { I, columns, elementBytes }: { I: number; columns: number; elementBytes: 2 | 4 },
): ReadWindow {
  const bytes = columns * elementBytes * I;
  const { buffer } = threads.reserve(2 * bytes);
  return (begin, end, at) => {
    const length = (end - begin) * I;
    const from = first + begin * I;
    if (elementBytes === 2) {
      const window = new Uint16Array(buffer, at * bytes, length);
      source.read(2 * from, new Uint8Array(buffer, at * bytes, 2 * length));
      return window;
    }
    const window = new Float32Array(buffer, at * bytes, length);
    decode(source, from, window);
    return window;
  };
}
