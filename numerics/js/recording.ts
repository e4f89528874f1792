import type { Arithmetic } from "./arithmetic.ts";
import type { Memory, Values } from "./memory.ts";
import type { JsNode } from "./node.ts";

/** What ops need of a backend in JavaScript. */
export interface Recording<V extends Values> {
  readonly arithmetic: Arithmetic<V>;
  readonly memory: Memory<V>;
  /** A node whose values `kernel` writes. */
  record(shape: readonly number[], inputs: readonly JsNode<V>[], kernel: (out: V) => void | Promise<void>): JsNode<V>;
  /** The values of x under another shape. */
  alias(x: JsNode<V>, shape: readonly number[]): JsNode<V>;
  /** Elements of a weight from `begin` on; nothing is read yet. */
  part(x: JsNode<V>, shape: readonly number[], begin: number): JsNode<V>;
  /** Evaluates a nested graph in the middle of another. All that it made is freed, except its result. */
  nested(graph: () => JsNode<V>): Promise<JsNode<V>>;
  /** Values of an evaluated node; a weight is read whole. */
  values(node: JsNode<V>): V;
  free(node: JsNode<V>): void;
}
