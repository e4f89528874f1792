// What the backends in JavaScript, cpu and wasm, differ in: the type of their values, and the ops that take nearly all the time.
import type { Capabilities } from "../capabilities.ts";
import type { Pointwise, Summation } from "../graph.ts";
import type { VisibleRanges } from "../visible.ts";
import type { Memory, Values } from "./memory.ts";
import type { WeightView } from "./node.ts";

/** y = x · Wᵀ + b for x [T, I], W [O, I], b [O]. W is read from the checkpoint unless it was computed. */
export interface LinearOperands<V extends Values> {
  readonly x: V;
  readonly weight: V | WeightView;
  readonly bias: V | null;
  readonly T: number;
  readonly O: number;
  readonly I: number;
  readonly summation: Summation;
}

export interface AttentionSizes {
  readonly T: number;
  readonly N: number;
  readonly K: number;
  /** Channels of queries and keys. */
  readonly H: number;
  /** Channels of values. */
  readonly C: number;
}

export interface AttentionOperands<V extends Values> {
  readonly q: V;
  readonly k: V;
  readonly v: V;
  readonly sinks: V | null;
  readonly scale: number;
  /** c of c · tanh(score / c). */
  readonly softcap: number | null;
  readonly visible: VisibleRanges;
}

export interface Arithmetic<V extends Values> {
  readonly name: "cpu" | "wasm";
  readonly capabilities: Capabilities;
  readonly library: string | null;
  /** A buffer of activations. */
  create(length: number): V;
  /** Bytes that it holds besides activations; they never become fewer. */
  readonly heldBytes: number;
  linear(operands: LinearOperands<V>, out: V, memory: Memory<V>): void | Promise<void>;
  attention(operands: AttentionOperands<V>, sizes: AttentionSizes, out: V): void | Promise<void>;
  map(f: Pointwise, x: V, out: V): void | Promise<void>;
  /** a · b or a + b, element by element. */
  combine(kind: "mul" | "add", a: V, b: V, out: V): void | Promise<void>;
  close(): Promise<void>;
}
