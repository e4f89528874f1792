// The end of a forward pass, from the last tap to the logits, run a block of rows at a time: [T, V] logits of a large
// vocabulary would otherwise be the largest thing in memory.
import type { Backend, WeightSource } from "./backend.ts";
import type { Node, Ops } from "./graph.ts";
import * as shapes from "./shapes/infer.ts";

/** Positions [begin, end). */
export interface Rows {
  readonly begin: number;
  readonly end: number;
}

/** What a graph holds: a node of the backend, or how to make one for some rows. */
export interface Handle<N extends Node> extends shapes.Operand {
  readonly node?: N;
  readonly later?: (block: Block<N>) => N;
}

/** The nodes made so far for one block of rows. */
interface Block<N extends Node> {
  readonly rows: Rows;
  readonly made: Map<Handle<N>, N>;
}

/** Passes ops on to a backend until `defer` is called; ops recorded from then on wait for `make`. */
export class RowBlocks<N extends Node> {
  readonly ops: Ops<Handle<N>> = this.makeOps();
  private deferred = false;

  constructor(
    private readonly backend: Backend<N>,
    private readonly source: (key: string) => WeightSource,
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

  /** `build` gets the nodes of `inputs`, whole or of some rows. */
  private op(
    shape: () => readonly number[],
    inputs: readonly Handle<N>[],
    build: (nodes: readonly N[], rows?: Rows) => N,
  ): Handle<N> {
    if (!this.deferred) {
      const node = build(inputs.map((input) => input.node!));
      return { shape: node.shape, node };
    }
    const later = (block: Block<N>) =>
      build(
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
    const op = () => this.backend.ops;
    return {
      gather: (table, ids) =>
        this.op(
          () => shapes.gatherShape(table, ids),
          [table],
          ([t], rows) => op().gather(t!, rows ? ids.slice(rows.begin, rows.end) : ids),
        ),
      rmsNorm: (x, weight, eps) =>
        this.op(
          () => shapes.rmsNormShape(x, weight),
          [x, weight],
          ([a, w]) => op().rmsNorm(a!, w!, eps),
        ),
      linear: (x, weight, bias) =>
        this.op(
          () => shapes.linearShape(x, weight, bias),
          bias ? [x, weight, bias] : [x, weight],
          ([a, w, b]) => op().linear(a!, w!, b),
        ),
      reshape: (x, shape) =>
        this.op(
          () => shapes.reshapeShape(x, shape),
          [x],
          ([a], rows) => op().reshape(a!, rows ? [rows.end - rows.begin, ...this.afterRows(x, shape)] : shape),
        ),
      slice: (x, axis, begin, end) => {
        if (this.deferred && axis === 0) throw notByRow("slice of rows");
        return this.op(
          () => shapes.sliceShape(x, axis, begin, end),
          [x],
          ([a]) => op().slice(a!, axis, begin, end),
        );
      },
      rope: (x, table, pairs) => {
        if (this.deferred) throw notByRow("rope");
        return this.op(
          () => x.shape,
          [x],
          ([a]) => op().rope(a!, table, pairs),
        );
      },
      attention: (q, k, v, options) => {
        if (this.deferred) throw notByRow("attention");
        return this.op(
          () => q.shape,
          [q, k, v],
          ([a, b, c]) => op().attention(a!, b!, c!, options),
        );
      },
      silu: (x) =>
        this.op(
          () => x.shape,
          [x],
          ([a]) => op().silu(a!),
        ),
      mul: (a, b) =>
        this.op(
          () => shapes.sameShape("mul", a, b),
          [a, b],
          ([x, y]) => op().mul(x!, y!),
        ),
      add: (a, b) =>
        this.op(
          () => shapes.sameShape("add", a, b),
          [a, b],
          ([x, y]) => op().add(x!, y!),
        ),
    };
  }

  private afterRows(x: Handle<N>, shape: readonly number[]): readonly number[] {
    if (shape[0] !== x.shape[0]) throw notByRow("reshape across rows");
    return shape.slice(1);
  }
}

/** A mistake in a graph, not in its input: see `Forward` in graph.ts. */
const notByRow = (op: string): Error => new Error(`${op} after the last tap, where a graph may only work row by row`);
