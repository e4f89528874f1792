// The end of a forward pass, from the last tap to the logits, run a block of rows at a time: [T, V] logits of a large
// vocabulary would otherwise be the largest thing in memory.
import type { Backend, WeightSource } from "./backend.ts";
import type { Node, Ops, Routing, Summation } from "./graph.ts";
import type { DirectedRouting } from "./routing.ts";
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

type WholeOp =
  | "constant"
  | "slice"
  | "concat"
  | "permute"
  | "rope"
  | "attention"
  | "causalConv"
  | "deltaRule"
  | "mixture";

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
    const whole = this.wholeOps();
    return {
      ...whole,
      gather: (table, ids) =>
        this.op(
          () => shapes.gatherShape(table, ids),
          [table],
          ([t], rows) => op().gather(t!, rows ? ids.slice(rows.begin, rows.end) : ids),
        ),
      rmsNorm: (x, weight, eps) =>
        this.op(
          () => shapes.normShape("rmsNorm", x, ...(weight ? [weight] : [])),
          weight ? [x, weight] : [x],
          ([a, w]) => op().rmsNorm(a!, w ?? null, eps),
        ),
      layerNorm: (x, weight, bias, eps) =>
        this.op(
          () => shapes.normShape("layerNorm", x, weight, bias),
          [x, weight, bias],
          ([a, w, b]) => op().layerNorm(a!, w!, b!, eps),
        ),
      linear: (x, weight, bias) =>
        this.op(
          () => shapes.linearShape(x, weight, bias),
          bias ? [x, weight, bias] : [x, weight],
          ([a, w, b]) => op().linear(a!, w!, b, this.summation),
        ),
      reshape: (x, shape) =>
        this.op(
          () => shapes.reshapeShape(x, shape),
          [x],
          ([a], rows) => op().reshape(a!, rows ? [rows.end - rows.begin, ...this.afterRows(x, shape)] : shape),
        ),
      slice: (x, axis, begin, end) =>
        axis === 0
          ? whole.slice(x, axis, begin, end)
          : this.op(
              () => shapes.sliceShape(x, axis, begin, end),
              [x],
              ([a]) => op().slice(a!, axis, begin, end),
            ),
      map: (f, x) => this.pointwise(x, (a) => op().map(f, a)),
      affine: (x, factor, offset) => this.pointwise(x, (a) => op().affine(a, factor, offset)),
      clamp: (x, low, high) => this.pointwise(x, (a) => op().clamp(a, low, high)),
      mul: (a, b) =>
        this.op(
          () => shapes.broadcastShape("mul", a, b),
          [a, b],
          ([x, y]) => op().mul(x!, y!),
        ),
      add: (a, b) =>
        this.op(
          () => shapes.broadcastShape("add", a, b),
          [a, b],
          ([x, y]) => op().add(x!, y!),
        ),
    };
  }

  /** Ops that mix rows: none of them may follow the last tap. */
  private wholeOps(): Pick<Ops<Handle<N>>, WholeOp> {
    const ops = () => this.backend.ops;
    const now = (name: string, build: () => N): Handle<N> => {
      if (this.deferred) throw notByRow(name);
      const node = build();
      return { shape: node.shape, node };
    };
    return {
      constant: (values, shape) => now("constant", () => ops().constant(values, shape)),
      slice: (x, axis, begin, end) => now("slice of rows", () => ops().slice(x.node!, axis, begin, end)),
      concat: (xs, axis) =>
        now("concat", () =>
          ops().concat(
            xs.map((x) => x.node!),
            axis,
          ),
        ),
      permute: (x, order) => now("permute", () => ops().permute(x.node!, order)),
      rope: (x, table, pairs) => now("rope", () => ops().rope(x.node!, table, pairs)),
      attention: (q, k, v, { sinks_N, ...options }) =>
        now("attention", () => ops().attention(q.node!, k.node!, v.node!, { ...options, sinks_N: sinks_N?.node })),
      causalConv: (x, weight) => now("causalConv", () => ops().causalConv(x.node!, weight.node!)),
      deltaRule: (q, k, v, decay, beta) =>
        now("deltaRule", () => ops().deltaRule(q.node!, k.node!, v.node!, decay.node!, beta.node!)),
      mixture: (x, routing, expert) =>
        now("mixture", () => {
          const { logits_TE, bias_E, ...rest } = this.direct(routing);
          return ops().mixture(
            x.node!,
            { ...rest, logits_TE: logits_TE.node!, bias_E: bias_E?.node },
            (rows, e) => expert({ shape: rows.shape, node: rows }, e).node!,
          );
        }),
    };
  }

  private pointwise(x: Handle<N>, build: (x: N) => N): Handle<N> {
    return this.op(
      () => x.shape,
      [x],
      ([a]) => build(a!),
    );
  }

  private afterRows(x: Handle<N>, shape: readonly number[]): readonly number[] {
    if (shape[0] !== x.shape[0]) throw notByRow("reshape across rows");
    return shape.slice(1);
  }
}

/** A mistake in a graph, not in its input: see `Forward` in graph.ts. */
const notByRow = (op: string): Error => new Error(`${op} after the last tap, where a graph may only work row by row`);
