// Runs one forward pass, or two in lock step: both advance to the next tap they have in common, the tap's values are
// compared, and everything else is freed. Memory is then a layer and its activations, not a model.
import { elementCount } from "../src/base/dtype.ts";
import type { Backend, WeightSource } from "./backend.ts";
import type { Forward, ForwardInput, Node, Summation, Tap } from "./graph.ts";
import type { Rows } from "./ops/call.ts";
import type { Choice } from "./routing.ts";
import { type Direct, type Handle, RowBlocks } from "./row-blocks.ts";
import type { ForwardPlan } from "./shapes/plan.ts";
import { copyOf, type MeasuredTap, measured, type TapValues, tapSums, type Values } from "./tap-sums.ts";

export type { TapComparison, Values } from "./tap-sums.ts";

/** Bytes of logits of one side that are computed and read back at a time. */
export const LOGIT_BLOCK_BYTES = 64 << 20;

export interface ForwardSide {
  readonly forward: Forward;
  /** What the shapes backend made of `forward` for the same input. */
  readonly plan: ForwardPlan;
  weight(key: string): WeightSource;
  has?(key: string): boolean;
  /** The order in which linear maps add, if not the usual one. */
  readonly summation?: Summation;
}

export interface ForwardObserver {
  /** One call for each tap that both sides have. */
  tap?(measured: MeasuredTap): void;
  /** Values of each tap of the reference, row-major; a copy. */
  record?(tap: string, values: Values): void;
  /** Logits of positions from `first` on: one row-major [rows, V] block per side. */
  logits(first: number, blocks: readonly Float32Array[]): void;
  /** One call per mixture of experts that both sides have. With one side there is no second choice. */
  routing?(name: string, choices: readonly Choice[]): void;
  progress?(done: { readonly tap: string; readonly flops: number; readonly totalFlops: number }): void;
}

/** Values of taps by their names. */
export type Recorded = Pick<ReadonlyMap<string, Values>, "get"> & { keys(): Iterable<string> };

export interface DriveOptions {
  /** Index of the side that the other is measured against. */
  readonly reference?: number;
  /** What `record` was given when the reference ran before. This run's only side is measured against it. */
  readonly recorded?: Recorded | undefined;
  /** Whether the second side takes the experts that the first one chose. */
  readonly pinned?: boolean;
  /** Positions that are compared, of an input whose later ones are left out; all unless given. */
  readonly counted?: Rows | undefined;
  /** The run goes on from recorded values at each tap that has some. */
  readonly restart?: Restart | undefined;
}

/** A stretch of a forward pass between recorded taps. */
export interface Restart {
  /** The recorded tap where it begins; null for the beginning. */
  readonly from: string | null;
  /** The recorded tap where it ends; null for the logits. */
  readonly to: string | null;
}

/**
 * @param sides one, or two
 * @param observer gets logits as f32, in ascending position
 */
export async function runForwards<N extends Node>(
  backend: Backend<N>,
  sides: readonly ForwardSide[],
  input: ForwardInput,
  observer: ForwardObserver,
  options: DriveOptions = {},
): Promise<void> {
  const { reference = 0, pinned = false, recorded, counted, restart } = options;
  const choices = new Choices(sides.length, pinned, observer);
  const runners = sides.map((side, i) => new Runner(backend, side, input, choices.of(i)));
  const held = () => runners.flatMap((runner) => runner.held);
  const totalFlops = sides.reduce((sum, side) => sum + flopsBetween(side.plan, restart), 0);
  let flops = 0;
  const advance = async (runner: Runner<N>) => {
    flops += runner.advance();
    await backend.evaluate(held());
    if (observer.record && runner === runners[reference]) {
      observer.record(runner.tap, await copyOf(tapOf(backend, runner.value!)));
    }
    observer.progress?.({ tap: runner.tap, flops, totalFlops });
  };

  const [first, second] = reference === 0 ? runners : runners.toReversed();
  if (restart?.from) for (const runner of runners) runner.skipTo(restart.from, recorded!.get(restart.from)!);
  for (const tap of tapsBetween(commonTaps(sides, recorded), restart)) {
    for (const runner of runners) while (runner.tap !== tap) await advance(runner);
    const values = recorded?.get(tap);
    const r = values ? recordedTap(values) : tapOf(backend, first!.value!);
    const x = values ? first : second;
    if (x && observer.tap) {
      const [rows] = x.value!.shape;
      const ahead = Math.max(...runners.map((runner) => runner.ahead));
      // A tap of other rows than tokens, as in front of a tower's merger, is of whole inputs.
      const own = rows === input.ids_T.length ? countedRows(counted, rows - ahead, ahead) : undefined;
      observer.tap(measured(tap, await tapSums(r, tapOf(backend, x.value!), { rows: rows!, counted: own })));
    }
    if (restart && values && tap !== restart.to) for (const runner of runners) runner.goOnFrom(values);
  }
  if (!restart?.to) await finish();
  await backend.evaluate([]);

  async function finish(): Promise<void> {
    for (const runner of runners) while (!runner.atLastTap) await advance(runner);
    const { begin = 0, end = input.ids_T.length } = counted ?? {};
    for (const rows of logitBlocks(backend, sides[0]!.plan, { begin, end })) {
      const blocks: Float32Array[] = [];
      for (const runner of runners) {
        const logits = runner.logits(rows);
        await backend.evaluate([...held(), logits]);
        blocks.push(Float32Array.from(await backend.readback(logits)));
        await backend.evaluate(held());
      }
      observer.logits(rows.begin, blocks);
      const share = (rows.end - begin) / (end - begin);
      observer.progress?.({ tap: "logits", flops: flops + (totalFlops - flops) * share, totalFlops });
    }
  }
}

/** Those that count, up to `end` where the rows behind it tell of no token. */
const countedRows = (counted: Rows | undefined, end: number, ahead: number): Rows | undefined =>
  ahead === 0 ? counted : { begin: counted?.begin ?? 0, end: Math.min(counted?.end ?? end, end) };

/** FLOPs of a stretch of a pass. */
export function flopsBetween({ steps }: ForwardPlan, restart: Restart | undefined): number {
  const own = stepsBetween(steps, restart);
  return own.reduce((sum, step) => sum + step.flops, 0);
}

/** The steps of a stretch of a pass. */
export function stepsBetween<S extends { readonly tap: string }>(
  steps: readonly S[],
  restart: Restart | undefined,
): readonly S[] {
  const at = (tap: string) => steps.findIndex((step) => step.tap === tap) + 1;
  return steps.slice(restart?.from ? at(restart.from) : 0, restart?.to ? at(restart.to) : steps.length);
}

function tapsBetween(taps: readonly string[], restart: Restart | undefined): readonly string[] {
  return stepsBetween(
    taps.map((tap) => ({ tap })),
    restart,
  ).map(({ tap }) => tap);
}

function* logitBlocks({ capabilities }: Backend, { logits }: ForwardPlan, { begin, end }: Rows): Generator<Rows> {
  const { valueBytes } = capabilities;
  const size = Math.max(1, Math.floor(LOGIT_BLOCK_BYTES / (logits[1]! * valueBytes)));
  for (let at = begin; at < end; at += size) yield { begin: at, end: Math.min(at + size, end) };
}

/** Taps of the first side that every side has, in order. */
function commonTaps(sides: readonly ForwardSide[], recorded: Recorded | undefined): string[] {
  const [first, ...others] = sides.map(({ plan }) => plan.steps.slice(0, -1).map((step) => step.tap));
  if (recorded) others.push([...recorded.keys()]);
  return first!.filter((tap) => others.every((taps) => taps.includes(tap)));
}

/** What the sides chose, by the name of the mixture. The first side reaches each mixture before the second. */
class Choices {
  private readonly made: readonly Map<string, Choice>[];

  constructor(
    sides: number,
    private readonly pinned: boolean,
    private readonly observer: ForwardObserver,
  ) {
    this.made = Array.from({ length: sides }, () => new Map());
  }

  of(side: number): Direct {
    return (routing) => ({
      ...routing,
      pinned: () => (this.pinned && side > 0 ? this.made[0]!.get(routing.name)?.experts : undefined),
      observe: (choice: Choice) => this.note(side, routing.name, choice),
    });
  }

  private note(side: number, name: string, choice: Choice): void {
    this.made[side]!.set(name, choice);
    const choices = this.made.map((choices) => choices.get(name)).filter((choice) => choice !== undefined);
    if (choices.length < this.made.length) return;
    this.observer.routing?.(name, choices);
    for (const choices of this.made) choices.delete(name);
  }
}

/** One side on its way through its forward pass. */
class Runner<N extends Node> {
  /** The tap that was reached last, and what has to outlive the next evaluation. */
  tap = "";
  value: N | null = null;
  /** As of the tap. */
  ahead = 0;
  held: readonly N[] = [];
  private readonly blocks: RowBlocks<N>;
  private readonly generator: Generator<Tap<Handle<N>>, Handle<N>, void>;
  private result: Handle<N> | null = null;
  private step = 0;
  /** Behind the last tap, as the graph has it. */
  private handles: readonly Handle<N>[] = [];

  constructor(
    backend: Backend<N>,
    private readonly side: ForwardSide,
    input: ForwardInput,
    direct: Direct,
  ) {
    const blocks = new RowBlocks(backend, (key) => side.weight(key), direct, side.summation);
    this.blocks = blocks;
    this.generator = side.forward(blocks.ops, (key) => blocks.weight(key), {
      ...input,
      has: side.has && ((key) => side.has!(key)),
    });
  }

  get atLastTap(): boolean {
    return this.step === this.side.plan.steps.length - 1;
  }

  /** Records the ops up to the next tap; returns their FLOPs. */
  advance(): number {
    const { value, keep = [] } = this.next();
    this.handles = [value, ...keep];
    this.hold();
    return this.side.plan.steps[this.step++]!.flops;
  }

  /** Goes on behind a tap that was recorded, without computing what stands before it. */
  skipTo(tap: string, values: Values): void {
    this.blocks.skip();
    while (this.tap !== tap) {
      this.handles = [this.next().value];
      this.step++;
    }
    this.blocks.goOn();
    this.goOnFrom(values);
  }

  /** Takes these for the values of the tap that it stands at. */
  goOnFrom(values: Values): void {
    this.blocks.replace(this.handles[0]!, values);
    this.hold();
  }

  private hold(): void {
    const nodes = this.blocks.hold(this.handles);
    this.value = nodes[0]!;
    this.held = nodes;
  }

  private next(): Tap<Handle<N>> {
    const next = this.generator.next();
    if (next.done) throw new Error("a forward pass ended before a tap that its plan has");
    this.tap = next.value.name;
    this.ahead = next.value.ahead ?? 0;
    return next.value;
  }

  /** Logits of some positions, recorded. */
  logits(rows: Rows): N {
    this.result ??= this.recordTail();
    return this.blocks.make(this.result, rows);
  }

  private recordTail(): Handle<N> {
    this.blocks.defer();
    const last = this.generator.next();
    if (!last.done) throw new Error(`a forward pass has a tap that its plan lacks: ${last.value.name}`);
    return last.value;
  }
}

const tapOf = <N extends Node>(backend: Backend<N>, value: N): TapValues => ({
  size: elementCount(value.shape),
  read: (begin, end) => backend.readback(value, begin, end),
});

const recordedTap = (values: Values): TapValues => ({
  size: values.length,
  read: async (begin, end) => values.subarray(begin, end),
});
