import type { Arithmetic } from "./arithmetic.ts";
import type { Memory, Values } from "./memory.ts";
import type { HostNode } from "./node.ts";

/** What ops need of a host backend. */
export interface Recording<V extends Values> {
  readonly arithmetic: Arithmetic<V>;
  readonly memory: Memory<V>;
  /** A node whose values `kernel` writes. */
  record(
    shape: readonly number[],
    inputs: readonly HostNode<V>[],
    kernel: (out: V) => void | Promise<void>,
  ): HostNode<V>;
  /** The values of x under another shape. */
  alias(x: HostNode<V>, shape: readonly number[]): HostNode<V>;
  /** Elements of a weight from `begin` on; nothing is read yet. */
  part(x: HostNode<V>, shape: readonly number[], begin: number): HostNode<V>;
  /** Evaluates a graph of its own in the middle of another; all it made is freed but its result. */
  nested(graph: () => HostNode<V>): Promise<HostNode<V>>;
  /** Values of an evaluated node; a weight is read whole. */
  values(node: HostNode<V>): V;
  free(node: HostNode<V>): void;
}
