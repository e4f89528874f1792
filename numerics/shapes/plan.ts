// Runs a forward pass on shapes alone: what each step reads, computes and holds, before a weight is loaded.
import { bitsOf, type Dtype, elementCount } from "../../src/formats/dtype.ts";
import type { AttentionMask, Forward, ForwardInput, Node, Ops } from "../graph.ts";
import * as shapes from "./infer.ts";

/** A tensor as its header describes it. */
export interface TensorShape {
  readonly key: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

export interface StepPlan {
  /** The tap that ends the step; `logits` for the last one. */
  readonly tap: string;
  /** Keys in the order of use, each once. */
  readonly weights: readonly string[];
  /** Stored bytes of these weights, and of the largest one. */
  readonly weightBytes: number;
  readonly largestWeightBytes: number;
  /** Multiplications and additions. */
  readonly flops: number;
  /** Largest number of activation values alive at once. */
  readonly peakValues: number;
}

export interface ForwardPlan {
  readonly steps: readonly StepPlan[];
  /** [T, V]. */
  readonly logits: readonly number[];
  readonly flops: number;
}

/** Values that a reshape shares with what it was made from. */
interface Storage {
  readonly values: number;
  owners: number;
}

interface ShapeNode extends Node {
  readonly key?: string;
  readonly storage?: Storage;
}

/**
 * @param tensor the header of a weight; throws where the checkpoint has none
 * @throws InputError SHAPE_MISMATCH or ID_OUT_OF_RANGE, naming the tensor
 */
export function planForward(forward: Forward, tensor: (key: string) => TensorShape, input: ForwardInput): ForwardPlan {
  const recorder = new Recorder(tensor);
  const generator = forward(recorder.ops, (key) => recorder.weight(key), input);
  const steps: StepPlan[] = [];
  for (;;) {
    const next = generator.next();
    if (next.done) {
      steps.push(recorder.finish("logits", [next.value]));
      return { steps, logits: next.value.shape, flops: steps.reduce((sum, step) => sum + step.flops, 0) };
    }
    steps.push(recorder.finish(next.value.name, [next.value.value, ...(next.value.keep ?? [])]));
  }
}

/** Tokens that all queries together look at. */
function visible(tokens: number, mask: AttentionMask): number {
  const window = mask.kind === "window" ? Math.min(mask.size, tokens) : tokens;
  return (window * (window + 1)) / 2 + (tokens - window) * window;
}

class Recorder {
  readonly ops: Ops<ShapeNode> = this.makeOps();
  private weights = new Map<string, number>();
  private flops = 0;
  private steps: { readonly out: ShapeNode; readonly inputs: readonly ShapeNode[]; readonly values: number }[] = [];
  /** Activations that earlier steps left alive. */
  private held: readonly ShapeNode[] = [];

  constructor(private readonly tensor: (key: string) => TensorShape) {}

  weight(key: string): ShapeNode {
    const { shape, dtype } = this.tensor(key);
    this.weights.set(key, (elementCount(shape) * bitsOf(dtype)) / 8);
    return { shape, key };
  }

  finish(tap: string, keep: readonly ShapeNode[]): StepPlan {
    const bytes = [...this.weights.values()];
    const step: StepPlan = {
      tap,
      weights: [...this.weights.keys()],
      weightBytes: bytes.reduce((sum, n) => sum + n, 0),
      largestWeightBytes: Math.max(0, ...bytes),
      flops: this.flops,
      peakValues: this.peakValues(new Set(keep)),
    };
    this.weights = new Map();
    this.flops = 0;
    this.steps = [];
    this.held = keep;
    return step;
  }

  /** Replays the step as a backend does: an output is allocated, and an input freed after its last use. */
  private peakValues(kept: ReadonlySet<ShapeNode>): number {
    const lastUse = new Map<ShapeNode, number>();
    for (const [i, { out, inputs }] of this.steps.entries()) for (const node of [...inputs, out]) lastUse.set(node, i);
    let alive = this.held.reduce((sum, node) => sum + (node.storage?.values ?? 0), 0);
    let peak = alive;
    for (const [i, { out, inputs, values }] of this.steps.entries()) {
      alive += values;
      peak = Math.max(peak, alive);
      for (const node of new Set([...inputs, out])) {
        if (lastUse.get(node) !== i || kept.has(node) || node.storage === undefined) continue;
        if (--node.storage.owners === 0) alive -= node.storage.values;
      }
    }
    return peak;
  }

  private add(shape: shapes.Shape, inputs: readonly ShapeNode[], flops: number): ShapeNode {
    const values = elementCount(shape);
    const out: ShapeNode = { shape, storage: { values, owners: 1 } };
    this.steps.push({ out, inputs, values });
    this.flops += flops;
    return out;
  }

  private alias(x: ShapeNode, shape: shapes.Shape): ShapeNode {
    const storage = x.storage ?? { values: elementCount(shape), owners: 0 };
    storage.owners++;
    const out: ShapeNode = { shape, storage };
    this.steps.push({ out, inputs: [x], values: 0 });
    return out;
  }

  private makeOps(): Ops<ShapeNode> {
    const map = (shape: shapes.Shape, inputs: readonly ShapeNode[], flopsPerValue: number) =>
      this.add(shape, inputs, flopsPerValue * elementCount(shape));
    return {
      gather: (table, ids) => map(shapes.gatherShape(table, ids), [table], 0),
      rmsNorm: (x, weight) => map(shapes.rmsNormShape(x, weight), [x, weight], 4),
      linear: (x, weight, bias) => {
        const shape = shapes.linearShape(x, weight, bias);
        return map(shape, bias ? [x, weight, bias] : [x, weight], 2 * weight.shape[1]! + (bias ? 1 : 0));
      },
      reshape: (x, shape) => this.alias(x, shapes.reshapeShape(x, shape)),
      slice: (x, axis, begin, end) => map(shapes.sliceShape(x, axis, begin, end), [x], 0),
      rope: (x, table) => map(shapes.ropeShape(x, table), [x], 3),
      attention: (q, k, v, { mask }) => {
        const shape = shapes.attentionShape(q, k, v);
        const perPair = 2 * (q.shape[2]! + v.shape[2]!);
        return this.add(shape, [q, k, v], shape[1]! * visible(shape[0]!, mask) * perPair);
      },
      silu: (x) => map(x.shape, [x], 4),
      mul: (a, b) => map(shapes.sameShape("mul", a, b), [a, b], 1),
      add: (a, b) => map(shapes.sameShape("add", a, b), [a, b], 1),
    };
  }
}
