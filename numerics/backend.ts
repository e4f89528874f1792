import type { Dtype } from "../src/base/dtype.ts";
import type { BackendName, Capabilities } from "./capabilities.ts";
import type { Node, Ops } from "./graph.ts";

/** A weight as it lies in a checkpoint: read by range, in its stored dtype. */
export interface WeightSource {
  readonly key: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Row-major bytes [begin, begin + target.length), synchronously. */
  read(begin: number, target: Uint8Array): void;
}

/**
 * Runs graphs. Ops only record; `evaluate` executes what was recorded, loading weights as they are needed (large ones
 * in windows) and freeing every intermediate after its last use.
 */
export interface Backend<N extends Node = Node> {
  readonly name: BackendName;
  readonly capabilities: Capabilities;
  /** Human-readable device, e.g. `llvmpipe (LLVM 15.0.6, 256 bits)`; null on the CPU. */
  readonly adapter: string | null;
  /** The native library that large matrix products are left to, e.g. `ONNX Runtime 1.30.0`; null where there is none. */
  readonly library: string | null;
  readonly ops: Ops<N>;
  /** A node that stands for a weight; nothing is read before `evaluate` needs it. */
  weight(source: WeightSource): N;
  /** Executes all recorded ops, then frees every node but those in `keep`. Using a freed node later throws. */
  evaluate(keep: readonly N[]): Promise<void>;
  /** Row-major values [begin, end) of an evaluated node, in elements. */
  readback(x: N, begin?: number, end?: number): Promise<Float32Array | Float64Array>;
  /** Largest number of bytes held at once for weights and activations so far. */
  readonly peakBytes: number;
  close(): Promise<void>;
}
