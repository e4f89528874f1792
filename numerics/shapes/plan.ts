// Runs a forward pass on shapes alone: what each step reads, computes and holds, before a weight is loaded.
import { byteLengthOf, type Dtype, elementCount } from "../../src/base/dtype.ts";
import type { Forward, ForwardInput, Node, Ops, Routing } from "../graph.ts";
import { interpreted } from "../ops/all.ts";
import type { Call, Shape } from "../ops/call.ts";
import { expertShape, mixtureShape } from "../ops/mixture.ts";
import { ReadLog, type Reads, type WeightPart } from "./reads.ts";

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
  readonly reads: Reads;
}

/** Values that a reshape shares with what it was made from. */
interface Storage {
  readonly values: number;
  owners: number;
}

interface ShapeNode extends Node {
  readonly key?: string;
  readonly storage?: Storage;
  /** The part of a weight that it is, where it is one. */
  readonly part?: WeightPart;
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
      const flops = steps.reduce((sum, step) => sum + step.flops, 0);
      return { steps, logits: next.value.shape, flops, reads: recorder.reads };
    }
    steps.push(recorder.finish(next.value.name, [next.value.value, ...(next.value.keep ?? [])]));
  }
}

class Recorder {
  readonly reads = new ReadLog();
  private readonly interpreted = interpreted((call: Call<ShapeNode>) => this.make(call));
  readonly ops: Ops<ShapeNode> = {
    ...this.interpreted,
    gather: (table, ids) => {
      const { part } = table;
      if (part && isOfRows(table, part)) this.reads.pick(part.key, ids);
      else if (part) this.reads.read(part);
      return this.interpreted.gather(table, ids);
    },
    slice: (x, axis, begin, end) => {
      const slice = this.interpreted.slice(x, axis, begin, end);
      const { part } = x;
      if (axis !== 0 || part === undefined || !isOfRows(x, part)) return slice;
      return { ...slice, part: { ...part, begin: part.begin + begin, end: part.begin + end } };
    },
    attention: (q, k, v, options) => {
      this.reads.masks.push(options.mask);
      return this.interpreted.attention(q, k, v, options);
    },
    mixture: (x, routing, expert) => this.mixture(x, routing, expert),
  };
  private weights = new Map<string, number>();
  private flops = 0;
  private steps: { readonly out: ShapeNode; readonly inputs: readonly ShapeNode[]; readonly values: number }[] = [];
  /** Activations that earlier steps left alive. */
  private held: readonly ShapeNode[] = [];

  constructor(private readonly tensor: (key: string) => TensorShape) {}

  weight(key: string): ShapeNode {
    const { shape, dtype } = this.tensor(key);
    this.weights.set(key, byteLengthOf(dtype, shape));
    return { shape, key, part: { key, begin: 0, end: shape[0] ?? 1 } };
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

  private add(shape: Shape, inputs: readonly ShapeNode[], flops: number): ShapeNode {
    const values = elementCount(shape);
    const out: ShapeNode = { shape, storage: { values, owners: 1 } };
    this.steps.push({ out, inputs, values });
    this.flops += flops;
    return out;
  }

  private alias(x: ShapeNode, shape: Shape): ShapeNode {
    const storage = x.storage ?? { values: elementCount(shape), owners: 0 };
    storage.owners++;
    const out: ShapeNode = { shape, storage, ...(x.part ? { part: x.part } : {}) };
    this.steps.push({ out, inputs: [x], values: 0 });
    return out;
  }

  private make(call: Call<ShapeNode>): ShapeNode {
    const { inputs, values, name } = call;
    const shape = call.shape();
    const [x] = inputs;
    if (values === "input") return this.alias(x!, shape);
    if (values === "part" && isRead(x!, shape)) return { ...x!, shape };
    // A gather reads some rows: it notes them itself.
    if (name !== "gather") for (const { part } of inputs) if (part) this.reads.read(part);
    return this.add(shape, inputs, call.flops(shape));
  }

  /** Which experts tokens choose is not known yet: all get the same number of rows. */
  private mixture(
    x: ShapeNode,
    routing: Routing<ShapeNode>,
    expert: (x_nD: ShapeNode, e: number) => ShapeNode,
  ): ShapeNode {
    const shape = mixtureShape(x, routing);
    const { logits_TE, bias_E, router } = routing;
    const experts = logits_TE.shape[1]!;
    const rows = Math.max(1, Math.round((shape[0]! * router.k) / experts));
    const inputs = [x, logits_TE, ...(bias_E ? [bias_E] : [])];
    for (const { part } of inputs) if (part) this.reads.read(part);
    const out = this.add(shape, inputs, 2 * router.k * elementCount(shape));
    this.reads.mixture(routing.name, experts, (e) => {
      const taken = this.add([rows, shape[1]!], [x], 0);
      const given = expert(taken, e);
      expertShape(taken, given);
      this.steps.push({ out, inputs: [given], values: 0 });
    });
    return out;
  }
}

/** Whether the first axis of a node is that of the weight it is a part of: a reshape may have made another of it. */
const isOfRows = ({ shape }: ShapeNode, { begin, end }: WeightPart): boolean => shape[0] === end - begin;

/** Rows of a weight are read when they are used; of an activation they are a copy. */
const isRead = (x: ShapeNode, shape: Shape): boolean =>
  x.storage === undefined && elementCount(shape) * x.shape[0]! === elementCount(x.shape) * shape[0]!;
