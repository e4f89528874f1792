// What ops of a backend in JavaScript work on: activations, and weights that are read when a step needs them.
import type { WeightSource } from "../backend.ts";
import type { Node } from "../graph.ts";
import type { Values } from "./memory.ts";

/** Values that several nodes may share (a reshape is the same values under another shape). */
export interface Storage<V extends Values> {
  readonly data: V;
  owners: number;
}

/** A contiguous row-major part of a weight, from element `begin` on. */
export interface WeightView {
  readonly source: WeightSource;
  readonly begin: number;
}

export interface JsNode<V extends Values = Values> extends Node {
  /** Key of the tensor, if this node is a weight or a part of one. */
  readonly key?: string;
  readonly view?: WeightView;
  state: "recorded" | "evaluated" | "freed";
  storage?: Storage<V> | undefined;
}

/** A recorded op. */
export interface Step<V extends Values> {
  readonly out: JsNode<V>;
  readonly inputs: readonly JsNode<V>[];
  run(): void | Promise<void>;
}
