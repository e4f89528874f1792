// Runs a forward pass on shapes alone: what each step reads, computes and holds, before a weight is loaded.
import { byteLengthOf, type Dtype, elementCount } from "../../src/base/dtype.ts";
import type { Forward, ForwardInput, Node, Ops, Pointwise, Routing } from "../graph.ts";
import { visiblePairs } from "../visible.ts";
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
  /** Values of the tap. */
  readonly tapValues: number;
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

/** Operations on one value, an exponential counting as one. */
const POINTWISE_FLOPS: Readonly<Record<Pointwise, number>> = {
  silu: 4,
  sigmoid: 3,
  tanh: 1,
  exp: 1,
  softplus: 2,
  gelu: 4,
  geluTanh: 9,
};

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
    this.weights.set(key, byteLengthOf(dtype, shape));
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
      tapValues: elementCount(keep[0]!.shape),
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
      constant: (values, shape) => map(shapes.constantShape(values, shape), [], 0),
      gather: (table, ids) => map(shapes.gatherShape(table, ids), [table], 0),
      rmsNorm: (x, weight) => {
        const weights = weight ? [weight] : [];
        return map(shapes.normShape("rmsNorm", x, ...weights), [x, ...weights], 4);
      },
      layerNorm: (x, weight, bias) => map(shapes.normShape("layerNorm", x, weight, bias), [x, weight, bias], 7),
      linear: (x, weight, bias) => {
        const shape = shapes.linearShape(x, weight, bias);
        return map(shape, bias ? [x, weight, bias] : [x, weight], 2 * weight.shape[1]! + (bias ? 1 : 0));
      },
      reshape: (x, shape) => this.alias(x, shapes.reshapeShape(x, shape)),
      slice: (x, axis, begin, end) => this.slice(x, shapes.sliceShape(x, axis, begin, end)),
      concat: (xs, axis) => map(shapes.concatShape(xs, axis), xs, 0),
      permute: (x, order) => map(shapes.permuteShape(x, order), [x], 0),
      rope: (x, table) => map(shapes.ropeShape(x, table), [x], 3),
      attention: (q, k, v, options) => {
        const shape = shapes.attentionShape(q, k, v, options);
        const perPair = 2 * (q.shape[2]! + v.shape[2]!);
        const inputs = options.sinks_N ? [q, k, v, options.sinks_N] : [q, k, v];
        return this.add(shape, inputs, shape[1]! * visiblePairs(shape[0]!, options.mask) * perPair);
      },
      map: (f, x) => map(x.shape, [x], POINTWISE_FLOPS[f]),
      affine: (x) => map(x.shape, [x], 2),
      clamp: (x) => map(x.shape, [x], 2),
      mul: (a, b) => map(shapes.broadcastShape("mul", a, b), [a, b], 1),
      add: (a, b) => map(shapes.broadcastShape("add", a, b), [a, b], 1),
      causalConv: (x, weight) => map(shapes.causalConvShape(x, weight), [x, weight], 2 * weight.shape[1]!),
      deltaRule: (q, k, v, decay, beta) =>
        map(shapes.deltaRuleShape(q, k, v, decay, beta), [q, k, v, decay, beta], 7 * q.shape[2]!),
      mixture: (x, routing, expert) => this.mixture(x, routing, expert),
    };
  }

  /** Rows of a weight are read when they are used; of an activation they are a copy. */
  private slice(x: ShapeNode, shape: shapes.Shape): ShapeNode {
    return x.storage === undefined && elementCount(shape) * x.shape[0]! === elementCount(x.shape) * shape[0]!
      ? { ...x, shape }
      : this.add(shape, [x], 0);
  }

  /** Which experts tokens choose is not known yet: all get the same number of rows. */
  private mixture(
    x: ShapeNode,
    routing: Routing<ShapeNode>,
    expert: (x_nD: ShapeNode, e: number) => ShapeNode,
  ): ShapeNode {
    const shape = shapes.mixtureShape(x, routing);
    const { logits_TE, bias_E, router } = routing;
    const experts = logits_TE.shape[1]!;
    const rows = Math.max(1, Math.round((shape[0]! * router.k) / experts));
    const inputs = [x, logits_TE, ...(bias_E ? [bias_E] : [])];
    const out = this.add(shape, inputs, 2 * router.k * elementCount(shape));
    for (let e = 0; e < experts; e++) {
      const taken = this.add([rows, shape[1]!], [x], 0);
      const given = expert(taken, e);
      shapes.expertShape(taken, given);
      this.steps.push({ out, inputs: [given], values: 0 });
    }
    return out;
  }
}
