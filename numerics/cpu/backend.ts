// The f64 reference: every other backend is measured against it. Plain loops, one thread.
import { setImmediate } from "node:timers/promises";
import { elementCount } from "../../src/formats/dtype.ts";
import type { Backend, WeightSource } from "../backend.ts";
import type { Node, Ops } from "../graph.ts";
import * as shapes from "../shapes/infer.ts";
import { decode, storedBytes } from "./decode.ts";
import * as kernels from "./kernels.ts";
import { matmulTransposed } from "./matmul.ts";
import { Memory } from "./memory.ts";

/** Bytes of f64 values that a large weight is decoded to at a time. */
const WINDOW_BYTES = 8 << 20;

/** Stored bytes of a weight that are read at a time. */
const SCRATCH_BYTES = 1 << 20;

/** Values that several nodes may share (a reshape is the same values under another shape). */
interface Storage {
  readonly data: Float64Array;
  owners: number;
}

export interface CpuNode extends Node {
  /** Key of the tensor, if this node is a weight. */
  readonly key?: string;
  readonly source?: WeightSource;
  state: "recorded" | "evaluated" | "freed";
  storage?: Storage | undefined;
}

interface Step {
  readonly out: CpuNode;
  readonly inputs: readonly CpuNode[];
  readonly run: () => void;
}

export class CpuBackend implements Backend<CpuNode> {
  readonly name = "cpu";
  readonly adapter = null;
  readonly ops: Ops<CpuNode>;
  private readonly memory = new Memory(SCRATCH_BYTES);
  private readonly scratch = new ArrayBuffer(SCRATCH_BYTES);
  private readonly alive = new Set<CpuNode>();
  private steps: Step[] = [];

  constructor() {
    this.ops = this.makeOps();
  }

  get peakBytes(): number {
    return this.memory.peakBytes;
  }

  weight(source: WeightSource): CpuNode {
    const node: CpuNode = { shape: source.shape, key: source.key, source, state: "recorded" };
    this.alive.add(node);
    return node;
  }

  async evaluate(keep: readonly CpuNode[]): Promise<void> {
    const kept = new Set(keep);
    const lastUse = new Map<CpuNode, number>();
    for (const [i, step] of this.steps.entries()) for (const node of [...step.inputs, step.out]) lastUse.set(node, i);
    for (const [i, step] of this.steps.entries()) {
      // A step may take seconds: signals and timers get their turn before each.
      await setImmediate();
      step.run();
      step.out.state = "evaluated";
      for (const node of [...step.inputs, step.out]) if (lastUse.get(node) === i && !kept.has(node)) this.free(node);
    }
    this.steps = [];
    for (const node of [...this.alive]) if (!kept.has(node)) this.free(node);
    this.memory.trim();
  }

  async readback(x: CpuNode, begin = 0, end = elementCount(x.shape)): Promise<Float64Array> {
    if (x.source === undefined && x.state !== "evaluated") throw new Error(`readback of a node that is ${x.state}`);
    return this.values(x).slice(begin, end);
  }

  async close(): Promise<void> {
    this.steps = [];
    for (const node of [...this.alive]) this.free(node);
    this.memory.trim();
    this.memory.trim();
  }

  private makeOps(): Ops<CpuNode> {
    const unary = (x: CpuNode, kernel: (x: Float64Array, out: Float64Array) => void) =>
      this.record(x.shape, [x], (out) => kernel(this.values(x), out));
    return {
      gather: (table, ids) =>
        this.record(shapes.gatherShape(table, ids), [table], (out) => this.gatherRows(table, ids, out)),
      rmsNorm: (x, weight, eps) =>
        this.record(shapes.rmsNormShape(x, weight), [x, weight], (out) =>
          kernels.rmsNorm(this.values(x), this.values(weight), eps, out),
        ),
      linear: (x, weight, bias) =>
        this.record(shapes.linearShape(x, weight, bias), bias ? [x, weight, bias] : [x, weight], (out) =>
          this.linear(x, weight, bias, out),
        ),
      reshape: (x, shape) => this.alias(x, shapes.reshapeShape(x, shape)),
      slice: (x, axis, begin, end) =>
        this.record(shapes.sliceShape(x, axis, begin, end), [x], (out) =>
          kernels.slice(this.values(x), x.shape, axis, [begin, end], out),
        ),
      rope: (x, table, pairs) =>
        this.record(shapes.ropeShape(x, table), [x], (out) =>
          kernels.rope(this.values(x), [x.shape[0]!, x.shape[1]!, x.shape[2]!], table, pairs, out),
        ),
      attention: (q, k, v, options) =>
        this.record(shapes.attentionShape(q, k, v), [q, k, v], (out) => {
          const sizes = { T: q.shape[0]!, N: q.shape[1]!, K: k.shape[1]!, H: q.shape[2]!, C: v.shape[2]! };
          kernels.attention([this.values(q), this.values(k), this.values(v)], sizes, options, out);
        }),
      silu: (x) => unary(x, kernels.silu),
      mul: (a, b) =>
        this.record(shapes.sameShape("mul", a, b), [a, b], (out) => kernels.mul(this.values(a), this.values(b), out)),
      add: (a, b) =>
        this.record(shapes.sameShape("add", a, b), [a, b], (out) => kernels.add(this.values(a), this.values(b), out)),
    };
  }

  private record(shape: readonly number[], inputs: readonly CpuNode[], kernel: (out: Float64Array) => void): CpuNode {
    return this.add(shape, inputs, (out) => {
      const data = this.memory.acquire(elementCount(shape));
      out.storage = { data, owners: 1 };
      kernel(data);
    });
  }

  private alias(x: CpuNode, shape: readonly number[]): CpuNode {
    return this.add(shape, [x], (out) => {
      this.values(x);
      out.storage = x.storage!;
      out.storage.owners++;
    });
  }

  private add(shape: readonly number[], inputs: readonly CpuNode[], run: (out: CpuNode) => void): CpuNode {
    for (const input of inputs) if (input.state === "freed") throw new Error("use of a node that was freed");
    const out: CpuNode = { shape, state: "recorded" };
    this.steps.push({ out, inputs, run: () => run(out) });
    this.alive.add(out);
    return out;
  }

  /** Values of an evaluated node; a weight is read whole. */
  private values(node: CpuNode): Float64Array {
    if (node.storage === undefined) {
      if (node.source === undefined || node.state === "freed") throw new Error(`no values: the node is ${node.state}`);
      const data = this.memory.acquire(elementCount(node.shape));
      this.decodeWindow(node.source, 0, data);
      node.storage = { data, owners: 1 };
    }
    return node.storage.data;
  }

  /** Only the rows asked for are read. */
  private gatherRows(table: CpuNode, ids: readonly number[], out: Float64Array): void {
    const D = table.shape[1]!;
    for (const [t, id] of ids.entries()) {
      const row = out.subarray(t * D, (t + 1) * D);
      if (table.storage) row.set(table.storage.data.subarray(id * D, (id + 1) * D));
      else this.decodeWindow(table.source!, id * D, row);
    }
  }

  /** A weight is decoded in windows of rows, so that the f64 copy of a large one never exists. */
  private linear(x: CpuNode, weight: CpuNode, bias: CpuNode | undefined, out: Float64Array): void {
    const [T, I, O] = [x.shape[0]!, x.shape[1]!, weight.shape[0]!];
    const b = bias && this.values(bias);
    if (weight.storage || weight.source === undefined) {
      matmulTransposed(this.values(x), this.values(weight), { T, O, I }, { y: out, stride: O, column: 0 }, b);
      return;
    }
    const rows = Math.min(O, Math.max(1, Math.floor(WINDOW_BYTES / (8 * I))));
    const window = this.memory.acquire(rows * I);
    for (let column = 0; column < O; column += rows) {
      const count = Math.min(rows, O - column);
      const w = window.subarray(0, count * I);
      this.decodeWindow(weight.source, column * I, w);
      matmulTransposed(this.values(x), w, { T, O: count, I }, { y: out, stride: O, column }, b);
    }
    this.memory.release(window);
  }

  private decodeWindow(source: WeightSource, begin: number, out: Float64Array): void {
    const size = storedBytes(source);
    const elements = Math.floor(this.scratch.byteLength / size);
    for (let done = 0; done < out.length; done += elements) {
      decode(source, begin + done, out.subarray(done, done + elements), this.scratch);
    }
  }

  private free(node: CpuNode): void {
    const { storage } = node;
    node.storage = undefined;
    node.state = "freed";
    this.alive.delete(node);
    if (storage && --storage.owners === 0) this.memory.release(storage.data);
  }
}
