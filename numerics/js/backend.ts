// Runs graphs in JavaScript: records ops, evaluates them in order, frees every value after its last use.
import { setImmediate } from "node:timers/promises";
import { elementCount } from "../../src/base/dtype.ts";
import type { Backend, WeightSource } from "../backend.ts";
import type { Capabilities } from "../capabilities.ts";
import type { Ops } from "../graph.ts";
import type { Arithmetic } from "./arithmetic.ts";
import { decode, SCRATCH_BYTES } from "./decode.ts";
import { Memory, type Values } from "./memory.ts";
import type { JsNode, Step } from "./node.ts";
import { jsOps } from "./ops/all.ts";
import type { Recording } from "./recording.ts";

/** Others wait so long for their turn, and for the step under way. */
const YIELD_MS = 5;

export class JsBackend<V extends Values> implements Backend<JsNode<V>>, Recording<V> {
  readonly adapter = null;
  readonly ops: Ops<JsNode<V>>;
  readonly memory: Memory<V>;
  private alive = new Set<JsNode<V>>();
  private steps: Step<V>[] = [];
  /** When others had their turn last. */
  private yielded = 0;

  constructor(readonly arithmetic: Arithmetic<V>) {
    this.memory = new Memory((length) => arithmetic.create(length), SCRATCH_BYTES);
    this.ops = jsOps(this);
  }

  get name(): "cpu" | "wasm" {
    return this.arithmetic.name;
  }

  get capabilities(): Capabilities {
    return this.arithmetic.capabilities;
  }

  get library(): string | null {
    return this.arithmetic.library;
  }

  get peakBytes(): number {
    return this.memory.peakBytes + this.arithmetic.heldBytes;
  }

  weight(source: WeightSource): JsNode<V> {
    return this.watch({ shape: source.shape, key: source.key, view: { source, begin: 0 }, state: "recorded" });
  }

  async evaluate(keep: readonly JsNode<V>[]): Promise<void> {
    const kept = new Set(keep);
    await this.run(kept);
    for (const node of [...this.alive]) if (!kept.has(node)) this.free(node);
    this.memory.trim();
  }

  async readback(x: JsNode<V>, begin = 0, end = elementCount(x.shape)): Promise<V> {
    if (x.view === undefined && x.state !== "evaluated") throw new Error(`readback of a node that is ${x.state}`);
    return this.values(x).slice(begin, end) as V;
  }

  async close(): Promise<void> {
    this.steps = [];
    for (const node of [...this.alive]) this.free(node);
    this.memory.trim(0);
    await this.arithmetic.close();
  }

  record(shape: readonly number[], inputs: readonly JsNode<V>[], kernel: (out: V) => void | Promise<void>): JsNode<V> {
    return this.add(shape, inputs, (out) => {
      const data = this.memory.acquire(elementCount(shape));
      out.storage = { data, owners: 1 };
      return kernel(data);
    });
  }

  alias(x: JsNode<V>, shape: readonly number[]): JsNode<V> {
    if (x.view && x.storage === undefined) return this.part(x, shape, 0);
    return this.add(shape, [x], (out) => {
      this.values(x);
      out.storage = x.storage!;
      out.storage.owners++;
    });
  }

  part(x: JsNode<V>, shape: readonly number[], begin: number): JsNode<V> {
    const { source, begin: first } = x.view!;
    return this.watch({ shape, key: source.key, view: { source, begin: first + begin }, state: "recorded" });
  }

  async nested(graph: () => JsNode<V>): Promise<JsNode<V>> {
    const [steps, alive] = [this.steps, this.alive];
    this.steps = [];
    this.alive = new Set();
    try {
      const result = graph();
      await this.run(new Set([result]));
      for (const node of [...this.alive]) if (node !== result) this.free(node);
      return result;
    } finally {
      this.steps = steps;
      this.alive = alive;
    }
  }

  values(node: JsNode<V>): V {
    if (node.storage === undefined) {
      if (node.view === undefined || node.state === "freed") throw new Error(`no values: the node is ${node.state}`);
      const data = this.memory.acquire(elementCount(node.shape));
      decode(node.view.source, node.view.begin, data);
      node.storage = { data, owners: 1 };
    }
    return node.storage.data;
  }

  free(node: JsNode<V>): void {
    const { storage } = node;
    node.storage = undefined;
    node.state = "freed";
    this.alive.delete(node);
    if (storage && --storage.owners === 0) this.memory.release(storage.data);
  }

  private add(
    shape: readonly number[],
    inputs: readonly JsNode<V>[],
    run: (out: JsNode<V>) => void | Promise<void>,
  ): JsNode<V> {
    for (const input of inputs) if (input.state === "freed") throw new Error("use of a node that was freed");
    const out = this.watch({ shape, state: "recorded" });
    this.steps.push({ out, inputs, run: () => run(out) });
    return out;
  }

  private watch(node: JsNode<V>): JsNode<V> {
    this.alive.add(node);
    return node;
  }

  private async run(kept: ReadonlySet<JsNode<V>>): Promise<void> {
    const steps = this.steps;
    this.steps = [];
    const lastUse = new Map<JsNode<V>, number>();
    for (const [i, step] of steps.entries()) for (const node of [...step.inputs, step.out]) lastUse.set(node, i);
    for (const [i, step] of steps.entries()) {
      // A step may take seconds: signals and timers get their turn.
      if (performance.now() - this.yielded > YIELD_MS) {
        await setImmediate();
        this.yielded = performance.now();
      }
      await step.run();
      step.out.state = "evaluated";
      for (const node of [...step.inputs, step.out]) if (lastUse.get(node) === i && !kept.has(node)) this.free(node);
    }
  }
}
