// What was recorded and is not yet evaluated.
import { elementCount } from "../../src/base/dtype.ts";
import type { KernelTraits } from "./choice.ts";
import { GpuNode, Storage } from "./node.ts";
import { loadStep, type Step } from "./step.ts";

export class Recording {
  readonly traits: KernelTraits;
  #steps: Step[] = [];

  constructor(traits: KernelTraits) {
    this.traits = traits;
  }

  /** What was recorded since the last call. */
  take(): readonly Step[] {
    const taken = this.#steps;
    this.#steps = [];
    return taken;
  }

  add(step: Step): void {
    this.#steps.push(step);
  }

  /** The elements of a node on the device; a weight is loaded by a step of its own. */
  storage(x: GpuNode): Storage {
    const { data } = x;
    if (data instanceof Storage) return data;
    const storage = new Storage(x.elements);
    this.add(loadStep(data, storage));
    return storage;
  }

  /** A node whose elements a step makes. */
  make(shape: readonly number[], step: (output: Storage) => Step): GpuNode {
    const output = new Storage(elementCount(shape));
    this.add(step(output));
    return new GpuNode(shape, output);
  }
}
