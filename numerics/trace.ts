// A forward pass as a graph of values, without running it. Passes traced by one tracer share what they compute alike: an op
// with equal arguments on equal inputs is one value, so that two configs differ in the values that differ and in no others.
import { createHash } from "node:crypto";
import { elementCount } from "../src/base/dtype.ts";
import type { Forward, ForwardInput, Ops, Router, Routing } from "./graph.ts";
import { interpreted } from "./ops/all.ts";
import type { Call, Operand, Rows, Shape } from "./ops/call.ts";
import { expertShape, mixtureShape } from "./ops/mixture.ts";

/** A value of some pass: a weight, or what an op makes of values before it. */
export interface Value extends Operand {
  /** Inputs have lower ones. */
  readonly index: number;
  readonly inputs: readonly Value[];
  readonly flops: number;
  /** Of a mixture: the share of its experts that tokens choose at most, and their ops and values. The others are not read. */
  readonly inside?: { readonly share: number; readonly ops: number; readonly values: number };
  /** Null for a weight. */
  readonly op: ((run: ValueRun, rows?: Rows) => Operand) | null;
}

/** What makes values real: nodes of a backend for the inputs of the op at hand. */
export interface ValueRun {
  readonly op: Ops<Operand>;
  /** Nodes of the op's inputs, in their order. */
  readonly inputs: readonly Operand[];
  /** The node of a value that the graph of an expert takes from outside. */
  node(value: Value): Operand;
  /** The routing with whatever is watched of it. */
  direct<X extends Operand>(routing: Routing<X>): Routing<X>;
}

export interface Trace {
  readonly taps: readonly { readonly name: string; readonly value: Value }[];
  /** [T, V] */
  readonly logits: Value;
  /** Values from the last tap to the logits: they work row by row. */
  readonly tail: ReadonlySet<Value>;
  /** Everything that taps and logits are made of, inputs first. */
  readonly order: readonly Value[];
}

/** @param header shape of a weight, by the key that its own side uses; throws where there is none */
type Header = (key: string) => { readonly shape: Shape };

export class Tracer {
  private readonly known = new Map<string, Value>();
  private readonly weights = new Map<string, Value>();
  private made: Value[] = [];
  private count = 0;
  /** Set while the graph of an expert runs for real. */
  private run: ValueRun | null = null;
  /** What experts are made of, by what the first of them gives: one graph makes them all. */
  private readonly inner = new Map<Value, Inner>();
  private header: Header = () => ({ shape: [] });
  private readonly ops: Ops<Operand> = {
    ...interpreted((call: Call<Operand>) => this.interpret(call)),
    mixture: (x, routing, expert) => this.mixture(x, routing, expert),
  };

  /** @throws InputError SHAPE_MISMATCH or ID_OUT_OF_RANGE, or what `header` throws */
  trace(forward: Forward, header: Header, input: ForwardInput): Trace {
    this.header = header;
    this.made = [];
    const generator = forward(this.ops, (key) => this.weight(key), input);
    const taps: { readonly name: string; readonly value: Value }[] = [];
    for (;;) {
      const next = generator.next();
      if (next.done) {
        const logits = traced(next.value);
        const tail = new Set(this.made.filter(({ op }) => op !== null));
        const order = orderOf([...taps.map(({ value }) => value), logits]);
        return { taps, logits, tail, order };
      }
      taps.push({ name: next.value.name, value: traced(next.value.value) });
      this.made = [];
    }
  }

  private weight(key: string): Operand {
    const known = this.weights.get(key);
    if (this.run !== null && known !== undefined) return this.run.node(known);
    const value = this.intern(`weight ${key}`, { ...this.header(key), key }, [], 0, null);
    this.weights.set(key, value);
    return value;
  }

  private interpret(call: Call<Operand>): Operand {
    const { run } = this;
    if (run !== null)
      return call.again(
        run.op,
        call.inputs.map((input) => nodeIn(run, input)),
      );
    const inputs = call.inputs.map(traced);
    const shape = call.shape();
    const name = `${call.name} ${signature(call.params)}`;
    const op = ({ op, inputs: nodes }: ValueRun, rows?: Rows) => call.again(op, nodes, rows);
    return this.intern(name, { shape }, inputs, call.flops(shape), op);
  }

  private intern(
    name: string,
    { shape, key }: Operand,
    inputs: readonly Value[],
    flops: number,
    op: Value["op"],
    inside?: Value["inside"],
  ): Value {
    const id = `${name} ${inputs.map(({ index }) => index)}`;
    let value = this.known.get(id);
    if (value === undefined) {
      value = {
        shape,
        index: this.count++,
        inputs,
        flops,
        op,
        ...(inside && { inside }),
        ...(key === undefined ? {} : { key }),
      };
      this.known.set(id, value);
    }
    this.made.push(value);
    return value;
  }

  private traceExperts(expert: (x_nD: Operand, e: number) => Operand, experts: number, rows: Value): Inner {
    for (let e = 1; e < experts; e++) expertShape(rows, traced(expert(rows, e)));
    const within = new Set(this.made);
    // An expert runs its own ops again: of them, weights alone are inputs.
    const outside = [...within].flatMap((value) =>
      value.op === null ? [value] : value.inputs.filter((each) => !within.has(each)),
    );
    const flops = [...within].reduce((sum, value) => sum + value.flops, 0);
    const made = [...within].filter(({ op }) => op !== null);
    const values = made.reduce((sum, { shape }) => sum + elementCount(shape), 0);
    return { outside: outside.filter((value) => value !== rows), flops, ops: made.length, values };
  }

  /** The graphs of the experts are traced as well: what they are made of from outside is an input of the mixture. */
  private mixture(x: Operand, routing: Routing<Operand>, expert: (x_nD: Operand, e: number) => Operand): Operand {
    const { logits_TE, bias_E, ...rest } = routing;
    const shape = mixtureShape(x, routing);
    const experts = logits_TE.shape[1]!;
    const outer = this.made;
    const rows = this.intern("rows of a mixture", { shape: [1, shape[1]!] }, [], 0, noRows);
    this.made = [];
    const first = traced(expert(rows, 0));
    expertShape(rows, first);
    const inner = this.inner.get(first) ?? this.traceExperts(expert, experts, rows);
    this.inner.set(first, inner);
    this.made = outer;
    const own = [x, logits_TE, ...(bias_E ? [bias_E] : [])].map(traced);
    const name = `mixture ${rest.name} ${rest.weighs} ${first.index} ${routerOf(rest.router, experts, bias_E !== undefined)}`;
    const inputs = [...new Set([...own, ...inner.outside])];
    const chosen = rest.router.k / experts;
    const flops = inner.flops * chosen * shape[0]!;
    const op = (run: ValueRun) => {
      const [from, logits, bias] = run.inputs;
      const routed = run.direct({ ...rest, logits_TE: logits!, bias_E: bias_E ? bias : undefined });
      return run.op.mixture(from!, routed, (taken, e) => {
        this.run = run;
        try {
          return expert(taken, e);
        } finally {
          this.run = null;
        }
      });
    };
    const share = Math.min(1, chosen * shape[0]!);
    return this.intern(name, { shape }, inputs, flops, op, {
      share,
      ops: share * inner.ops,
      values: share * inner.values,
    });
  }
}

interface Inner {
  readonly outside: readonly Value[];
  /** Of all experts, for a row each. */
  readonly flops: number;
  readonly ops: number;
  readonly values: number;
}

const noRows = (): never => {
  throw new Error("rows of a mixture stand for those that an expert gets");
};

const isValue = (x: Operand): x is Value => "index" in x;

function traced(x: Operand): Value {
  if (isValue(x)) return x;
  throw new Error("a node of a backend in a graph that is traced");
}

const nodeIn = (run: ValueRun, x: Operand): Operand => (isValue(x) ? run.node(x) : x);

/** What the values are made of, inputs first. */
function orderOf(targets: readonly Value[]): Value[] {
  const found = new Set<Value>();
  const rest = [...targets];
  for (let value = rest.pop(); value !== undefined; value = rest.pop()) {
    if (found.has(value)) continue;
    found.add(value);
    rest.push(...value.inputs);
  }
  return [...found].sort((a, b) => a.index - b.index);
}

/** Two routers that choose and weigh alike are one: told from what they make of a few logits. */
function routerOf(router: Router, experts: number, hasBias: boolean): string {
  const bias = hasBias ? Float64Array.from({ length: experts }, (_, e) => 0.4 * Math.cos(2.3 * e)) : null;
  const first = Array.from({ length: router.k }, (_, i) => i);
  const made = [0.37, 1.91, 4.3].map((step) => {
    const logits = Float64Array.from({ length: experts }, (_, e) => 3 * Math.sin(step * (e + 1)));
    return [router.k, Array.from(router.select(logits, bias)), router.weigh(logits, first)];
  });
  return signature(made);
}

const digests = new WeakMap<object, string>();

/** Equal for equal arguments. Long lists are told by their digest. */
function signature(of: unknown): string {
  if (ArrayBuffer.isView(of)) {
    let digest = digests.get(of);
    if (digest === undefined) {
      const bytes = new Uint8Array(of.buffer, of.byteOffset, of.byteLength);
      digest = createHash("sha256").update(bytes).digest("base64");
      digests.set(of, digest);
    }
    return digest;
  }
  if (Array.isArray(of)) return `[${of.map(signature)}]`;
  if (typeof of !== "object" || of === null) return String(of);
  return `{${Object.entries(of).map(([name, value]) => `${name}:${signature(value)}`)}}`;
}
