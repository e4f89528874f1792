// The end of a forward pass, from the last tap to the logits, run a block of rows at a time: [T, V] logits of a large
// vocabulary would otherwise be the largest thing in memory.
import type { Backend, WeightSource } from "./backend.ts";
import type { Node, Ops, Routing, Summation } from "./graph.ts";
import { interpreted } from "./ops/all.ts";
import type { Call, Operand, Rows } from "./ops/call.ts";
import type { DirectedRouting } from "./routing.ts";

/** What a graph holds: a node of the backend, or how to make one for some rows. */
export interface Handle<N extends Node> extends Operand {
  readonly node?: N;
  readonly later?: (block: Block<N>) => N;
}

/** The nodes made so far for one block of rows. */
interface Block<N extends Node> {
  readonly rows: Rows;
  readonly made: Map<Handle<N>, N>;
}

/** Watches or makes the choice of experts. */
export type Direct = <N extends Node>(routing: Routing<N>) => DirectedRouting<N>;

/** Passes ops on to a backend until `defer` is called; ops recorded from then on wait for `make`. */
export class RowBlocks<N extends Node> {
  readonly ops: Ops<Handle<N>> = this.makeOps();
  private deferred = false;

  constructor(
    private readonly backend: Backend<N>,
    private readonly source: (key: string) => WeightSource,
    private readonly direct: Direct = (routing) => routing,
    private readonly summation?: Summation,
  ) {}

  defer(): void {
    this.deferred = true;
  }

  weight(key: string): Handle<N> {
    const source = this.source(key);
    if (this.deferred) return { shape: source.shape, key, later: () => this.backend.weight(source) };
    return { shape: source.shape, key, node: this.backend.weight(source) };
  }

  /** Rows of a deferred result. */
  make(x: Handle<N>, rows: Rows): N {
    return this.resolve(x, { rows, made: new Map() });
  }

  private interpret({ inputs, shape, byRow, name, again }: Call<Handle<N>>): Handle<N> {
    const op = this.backend.ops;
    if (!this.deferred) {
      const node = again(
        op,
        inputs.map((input) => input.node!),
      );
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
    const made = block.made.get(x) ?? x.later?.(block) ?? this.rowsOf(x.node!, block.rows);
    block.made.set(x, made);
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
    const { logits_TE, bias_E, ...rest } = this.direct(routing);
    const node = this.backend.ops.mixture(
      x.node!,
      { ...rest, logits_TE: logits_TE.node!, bias_E: bias_E?.node },
      (rows, e) => expert({ shape: rows.shape, node: rows }, e).node!,
    );
    return { shape: node.shape, node };
  }
}

/** A mistake in a graph, not in its input: see `Forward` in graph.ts. */
const notByRow = (op: string): Error => new Error(`${op} after the last tap, where a graph may only work row by row`);
