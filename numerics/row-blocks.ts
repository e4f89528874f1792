// What a graph computes, and when. The end of a forward pass, from the last tap to the logits, runs a block of rows at a time:
// [T, V] logits of a large vocabulary would otherwise be the largest thing in memory. Of steps that are skipped nothing is
// computed but what a later step asks for.
import type { Backend, WeightSource } from "./backend.ts";
import type { Node, Ops, Routing, Summation } from "./graph.ts";
import { interpreted } from "./ops/all.ts";
import type { Call, Operand, Rows } from "./ops/call.ts";
import { mixtureShape } from "./ops/mixture.ts";
import type { DirectedRouting } from "./routing.ts";

/** What a graph holds: a node of the backend, or how to make one: at once when asked for, or for some rows. */
export interface Handle<N extends Node> extends Operand {
  readonly node?: N;
  readonly asked?: () => N;
  readonly later?: (block: Block<N>) => N;
}

/** The nodes made so far for one block of rows. */
interface Block<N extends Node> {
  readonly rows: Rows;
  readonly made: Map<Handle<N>, N>;
}

/** Watches or makes the choice of experts. */
export type Direct = <N extends Node>(routing: Routing<N>) => DirectedRouting<N>;

/**
 * Passes ops on to a backend until `defer` is called; ops recorded from then on wait for `make`. Those between `skip` and
 * `goOn` are passed on only where a later one needs what they make.
 */
export class RowBlocks<N extends Node> {
  readonly ops: Ops<Handle<N>> = this.makeOps();
  private deferred = false;
  private skipped = false;
  /** Nodes of handles that have none of their own: made when they were asked for, or put in place of what a graph computed. */
  private bound = new Map<Handle<N>, N>();

  constructor(
    private readonly backend: Backend<N>,
    private readonly source: (key: string) => WeightSource,
    private readonly direct: Direct = (routing) => routing,
    private readonly summation?: Summation,
  ) {}

  defer(): void {
    this.deferred = true;
  }

  skip(): void {
    this.skipped = true;
  }

  goOn(): void {
    this.skipped = false;
  }

  /** Takes these values, row-major, for what a graph computed. */
  replace(x: Handle<N>, values: ArrayLike<number>): void {
    this.bound.set(x, this.backend.ops.constant(values, x.shape));
  }

  /** The nodes of what outlives the next evaluation. Whatever else was asked for is made again when it is needed. */
  hold(handles: readonly Handle<N>[]): N[] {
    const nodes = handles.map((handle) => this.nodeOf(handle));
    this.bound = new Map([...this.bound].filter(([handle]) => handles.includes(handle)));
    return nodes;
  }

  weight(key: string): Handle<N> {
    const source = this.source(key);
    if (this.skipped) return { shape: source.shape, key, asked: () => this.backend.weight(source) };
    if (this.deferred) return { shape: source.shape, key, later: () => this.backend.weight(source) };
    return { shape: source.shape, key, node: this.backend.weight(source) };
  }

  /** Rows of a deferred result. */
  make(x: Handle<N>, rows: Rows): N {
    return this.resolve(x, { rows, made: new Map() });
  }

  private interpret({ inputs, shape, byRow, name, again }: Call<Handle<N>>): Handle<N> {
    const op = this.backend.ops;
    const now = () =>
      again(
        op,
        inputs.map((input) => this.nodeOf(input)),
      );
    if (this.skipped) return { shape: shape(), asked: now };
    if (!this.deferred) {
      const node = now();
      return { shape: node.shape, node };
    }
    if (!byRow) throw notByRow(name);
    const later = (block: Block<N>) =>
      again(
        op,
        inputs.map((input) => this.resolve(input, block)),
        block.rows,
      );
    return { shape: shape(), later };
  }

  private resolve(x: Handle<N>, block: Block<N>): N {
    const made = block.made.get(x) ?? x.later?.(block) ?? this.rowsOf(this.nodeOf(x), block.rows);
    block.made.set(x, made);
    return made;
  }

  private nodeOf(x: Handle<N>): N {
    const known = this.bound.get(x) ?? x.node;
    if (known !== undefined) return known;
    const made = x.asked!();
    // A weight is one more node at each use: the graph of an expert frees those that it has read.
    if (x.key === undefined) this.bound.set(x, made);
    return made;
  }

  private rowsOf(x: N, { begin, end }: Rows): N {
    return end - begin === x.shape[0] ? x : this.backend.ops.slice(x, 0, begin, end);
  }

  private makeOps(): Ops<Handle<N>> {
    const ops = interpreted((call: Call<Handle<N>>) => this.interpret(call));
    return {
      ...ops,
      linear: (x, weight, bias) => ops.linear(x, weight, bias, this.summation),
      mixture: (x, routing, expert) => this.mixture(x, routing, expert),
    };
  }

  private mixture(
    x: Handle<N>,
    routing: Routing<Handle<N>>,
    expert: (rows: Handle<N>, e: number) => Handle<N>,
  ): Handle<N> {
    if (this.deferred) throw notByRow("mixture");
    const now = () => {
      const { logits_TE, bias_E, ...rest } = this.direct(routing);
      return this.backend.ops.mixture(
        this.nodeOf(x),
        { ...rest, logits_TE: this.nodeOf(logits_TE), bias_E: bias_E && this.nodeOf(bias_E) },
        (rows, e) => this.nodeOf(expert({ shape: rows.shape, node: rows }, e)),
      );
    };
    if (this.skipped) return { shape: mixtureShape(x, routing), asked: now };
    const node = now();
    return { shape: node.shape, node };
  }
}

/** A mistake in a graph, not in its input: see `Forward` in graph.ts. */
const notByRow = (op: string): Error => new Error(`${op} after the last tap, where a graph may only work row by row`);
