// A traced forward pass evaluated again and again with some weights replaced. What the pass left behind the first time is
// held: only values that follow from a replaced weight, or that another config has, are computed.
import { elementCount } from "../src/base/dtype.ts";
import type { Backend, WeightSource } from "./backend.ts";
import type { Values } from "./driver.ts";
import type { Node, Routing } from "./graph.ts";
import type { Rows } from "./ops/call.ts";
import type { Choice, DirectedRouting } from "./routing.ts";
import type { Trace, Value, ValueRun } from "./trace.ts";

/** Where all values of a pass are more, taps alone are held. */
const MOST_HELD_BYTES = 256 << 20;

type Replaced = ReadonlyMap<string, WeightSource>;

export interface ReplayOptions {
  /** Weights in place of the pass's own, by key. */
  readonly replaced?: Replaced;
  /** Rows of the logits that are computed. */
  readonly rows: Rows;
  readonly signal?: AbortSignal | undefined;
}

export interface ReplayCost {
  readonly flops: number;
  readonly elements: number;
  readonly ops: number;
}

const NONE: Replaced = new Map();

export class Replay {
  private readonly held = new Map<Value, Node>();
  /** Whether all values of a pass are held: then it is small, and is evaluated at once. */
  private isSmall = false;
  /** Experts that tokens chose in the pass that is held, by the name of their mixture. */
  readonly chosen = new Map<string, Choice>();

  constructor(
    private readonly backend: Backend,
    private readonly weight: (key: string) => WeightSource,
  ) {}

  /** Runs a pass and holds its values. Those that were held before go. @returns logits of the rows, row-major */
  hold(trace: Trace, options: ReplayOptions): Promise<Values> {
    this.held.clear();
    this.chosen.clear();
    const values = trace.order.filter((value) => value.op !== null && !trace.tail.has(value));
    const count = values.reduce((sum, { shape }) => sum + elementCount(shape), 0);
    this.isSmall = count * this.backend.capabilities.valueBytes <= MOST_HELD_BYTES;
    const kept = new Set(this.isSmall ? values : trace.taps.map(({ value }) => value));
    return this.evaluate(trace, options, kept, this.chosen);
  }

  /** Logits of the rows, row-major. */
  logits(trace: Trace, options: ReplayOptions): Promise<Values> {
    return this.evaluate(trace, options, new Set(), null);
  }

  /** FLOPs and ops of what is not held, and elements that are read or made for it. */
  cost(trace: Trace, replaced: Replaced = NONE): ReplayCost {
    let [flops, elements, ops] = [0, 0, 0];
    for (const value of this.missing(trace, replaced)) {
      if (value.op === null) continue;
      flops += value.flops;
      ops += 1 + (value.inside?.ops ?? 0);
      elements += elementCount(value.shape) + (value.inside?.values ?? 0);
      for (const { op, shape } of value.inputs)
        if (op === null) elements += elementCount(shape) * (value.inside?.share ?? 1);
    }
    return { flops, elements, ops };
  }

  /** What has to be computed, and the weights that have to be read for it, inputs first. */
  private missing({ order, logits }: Trace, replaced: Replaced): Value[] {
    const changed = new Set<Value>();
    for (const value of order) {
      const { op, key = "", inputs } = value;
      if (op === null ? replaced.has(key) : inputs.some((each) => changed.has(each))) changed.add(value);
    }
    const isMissing = (value: Value) => changed.has(value) || !this.held.has(value);
    const needed = new Set([logits]);
    for (const value of order.toReversed()) {
      if (needed.has(value) && isMissing(value)) for (const each of value.inputs) needed.add(each);
    }
    return order.filter((value) => needed.has(value) && isMissing(value));
  }

  private async evaluate(
    trace: Trace,
    { replaced = NONE, rows, signal }: ReplayOptions,
    kept: ReadonlySet<Value>,
    chosen: Map<string, Choice> | null,
  ): Promise<Values> {
    const { backend, held } = this;
    const missing = this.missing(trace, replaced);
    const lastUse = new Map<Value, number>();
    for (const [i, value] of missing.entries()) for (const each of [...value.inputs, value]) lastUse.set(each, i);
    const taps = new Set(trace.taps.map(({ value }) => value));
    const made = new Map<Value, Node>();
    const node = (value: Value): Node => {
      // A weight is one more node at each use: the graph of an expert frees those that it has read.
      if (value.op === null) return backend.weight(replaced.get(value.key!) ?? this.weight(value.key!));
      return made.get(value) ?? held.get(value) ?? unmade();
    };
    const direct = <X extends Node>(routing: Routing<X>): DirectedRouting<X> => ({
      ...routing,
      ...(chosen === null ? {} : { observe: (choice: Choice) => chosen.set(routing.name, choice) }),
    });
    for (const [i, value] of missing.entries()) {
      if (value.op === null) continue;
      const isTail = trace.tail.has(value);
      const inputs = value.inputs.map((input) => {
        const isWhole = !isTail || input.op === null || trace.tail.has(input);
        return isWhole ? node(input) : backend.ops.slice(node(input), 0, rows.begin, rows.end);
      });
      const run: ValueRun = { op: backend.ops, inputs, node, direct };
      made.set(value, value.op(run, isTail ? rows : undefined));
      if (value !== trace.logits && (this.isSmall || !taps.has(value))) continue;
      signal?.throwIfAborted();
      for (const [each, own] of [...made]) {
        if (kept.has(each)) held.set(each, own);
        if ((lastUse.get(each) ?? 0) <= i && each !== trace.logits) made.delete(each);
      }
      await backend.evaluate([...held.values(), ...made.values()]);
    }
    return await backend.readback(node(trace.logits));
  }
}

const unmade = (): never => {
  throw new Error("a value is used before it is made");
};
