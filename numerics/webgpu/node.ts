// What ops work on: activations in buffers, and weights that are read when a step needs them.

import { elementCount } from "../../src/base/dtype.ts";
import type { Operand } from "../ops/call.ts";
import type { WeightView } from "./weights.ts";

/** f32 elements of an activation; nodes that differ in shape only share one. */
export class Storage {
  readonly elements: number;
  /** There from the step that makes it until its last use. */
  buffer: GPUBuffer | undefined;
  isFreed = false;

  constructor(elements: number) {
    this.elements = elements;
  }

  get bytes(): number {
    return 4 * this.elements;
  }
}

/** A node of the WebGPU backend. */
export class GpuNode implements Operand {
  readonly shape: readonly number[];
  /** Key of the tensor, for weights. */
  readonly key: string | undefined;
  readonly #data: Storage | WeightView;

  constructor(shape: readonly number[], data: Storage | WeightView) {
    this.shape = shape;
    this.#data = data;
    this.key = data instanceof Storage ? undefined : data.source.key;
  }

  get elements(): number {
    return elementCount(this.shape);
  }

  /** @throws Error for an activation that `evaluate` freed. */
  get data(): Storage | WeightView {
    if (this.#data instanceof Storage && this.#data.isFreed) {
      throw new Error(`a node of shape [${this.shape.join(", ")}] was freed by evaluate and is used again`);
    }
    return this.#data;
  }
}
