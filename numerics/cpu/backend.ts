// The f64 reference: every other backend is measured against it. Plain loops, one thread.
import { setImmediate } from "node:timers/promises";
import { CAPABILITIES } from "../capabilities.ts";
import { SHORT_CHAIN } from "../graph.ts";
import type { Arithmetic, LinearOperands } from "../js/arithmetic.ts";
import { JsBackend } from "../js/backend.ts";
import { decode } from "../js/decode.ts";
import type { Memory } from "../js/memory.ts";
import type { JsNode } from "../js/node.ts";
import { attention } from "../js/ops/attention.ts";
import { map, zip } from "../js/ops/pointwise.ts";
import { matmulTransposed } from "./matmul.ts";

/** Bytes of f64 values that a large weight is decoded to at a time. */
const DECODED_BYTES = 8 << 20;

export type CpuNode = JsNode<Float64Array>;

class F64Arithmetic implements Arithmetic<Float64Array> {
  readonly name = "cpu";
  readonly capabilities = CAPABILITIES.cpu;
  readonly library = null;
  readonly heldBytes = 0;
  readonly attention = attention<Float64Array>;
  readonly map = map;
  readonly combine = zip;

  create(length: number): Float64Array {
    return new Float64Array(length);
  }

  /** A weight is decoded in windows of rows, so that the f64 copy of a large one never exists. */
  async linear(
    { x, weight, bias, T, O, I, summation }: LinearOperands<Float64Array>,
    out: Float64Array,
    memory: Memory<Float64Array>,
  ): Promise<void> {
    const b = bias ?? undefined;
    const chain = summation === "short" ? SHORT_CHAIN : undefined;
    if (weight instanceof Float64Array) {
      matmulTransposed(x, weight, { T, O, I, chain }, { y: out, stride: O, column: 0 }, b);
      return;
    }
    const rows = Math.min(O, Math.max(1, Math.floor(DECODED_BYTES / (8 * I))));
    const window = memory.acquire(rows * I);
    const { source, begin } = weight;
    for (let column = 0; column < O; column += rows) {
      // A large one takes minutes: signals have their turn.
      if (column > 0) await setImmediate();
      const count = Math.min(rows, O - column);
      const w = window.subarray(0, count * I);
      decode(source, begin + column * I, w);
      matmulTransposed(x, w, { T, O: count, I, chain }, { y: out, stride: O, column }, b);
    }
    memory.release(window);
  }

  async close(): Promise<void> {}
}

export class CpuBackend extends JsBackend<Float64Array> {
  constructor() {
    super(new F64Arithmetic());
  }
}
