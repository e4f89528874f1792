// Runs one forward pass, or two in lock step: both advance to the next tap they have in common, the tap's values are
// compared, and everything else is freed. Memory is then a layer and its activations, not a model.
import { elementCount } from "../src/base/dtype.ts";
import type { Backend, WeightSource } from "./backend.ts";
import type { Forward, ForwardInput, Node, Summation, Tap } from "./graph.ts";
import type { Rows } from "./ops/call.ts";
import type { Choice } from "./routing.ts";
import { type Direct, type Handle, RowBlocks } from "./row-blocks.ts";
import type { ForwardPlan } from "./shapes/plan.ts";

/** Bytes of logits of one side that are computed and read back at a time. */
export const LOGIT_BLOCK_BYTES = 64 << 20;
/** Values of a tap that are compared at a time. */
const TAP_BLOCK = 1 << 20;

export interface ForwardSide {
  readonly forward: Forward;
  /** What the shapes backend made of `forward` for the same input. */
  readonly plan: ForwardPlan;
  weight(key: string): WeightSource;
  has?(key: string): boolean;
  /** The order in which linear maps add, if not the usual one. */
  readonly summation?: Summation;
}

export type Values = Float32Array | Float64Array;

export interface TapComparison {
  readonly tap: string;
  /** √(Σ(x − r)² / Σr²) of the two sides' values, r being the reference; NaN or Infinity where a value is. */
  readonly relativeRms: number;
}

export interface ForwardObserver {
  /** One call for each tap that both sides have. */
  tap?(comparison: TapComparison): void;
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
  { reference = 0, pinned = false, recorded }: DriveOptions = {},
): Promise<void> {
  const choices = new Choices(sides.length, pinned, observer);
  const runners = sides.map((side, i) => new Runner(backend, side, input, choices.of(i)));
  const held = () => runners.flatMap((runner) => runner.held);
  const totalFlops = sides.reduce((sum, side) => sum + side.plan.flops, 0);
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
  for (const tap of commonTaps(sides, recorded)) {
    for (const runner of runners) while (runner.tap !== tap) await advance(runner);
    const r = recorded ? recordedTap(recorded.get(tap)!) : tapOf(backend, first!.value!);
    const x = recorded ? first : second;
    if (x) observer.tap?.({ tap, relativeRms: await relativeRms(r, tapOf(backend, x.value!)) });
  }
  for (const runner of runners) while (!runner.atLastTap) await advance(runner);

  for (const rows of logitBlocks(backend, sides[0]!.plan)) {
    const blocks: Float32Array[] = [];
    for (const runner of runners) {
      const logits = runner.logits(rows);
      await backend.evaluate([...held(), logits]);
      blocks.push(Float32Array.from(await backend.readback(logits)));
      await backend.evaluate(held());
    }
    observer.logits(rows.begin, blocks);
    const share = rows.end / input.ids_T.length;
    observer.progress?.({ tap: "logits", flops: flops + (totalFlops - flops) * share, totalFlops });
  }
  await backend.evaluate([]);
}

function* logitBlocks({ capabilities }: Backend, { logits }: ForwardPlan): Generator<Rows> {
  const [tokens, vocab] = [logits[0]!, logits[1]!];
  const { valueBytes } = capabilities;
  const size = Math.max(1, Math.floor(LOGIT_BLOCK_BYTES / (vocab * valueBytes)));
  for (let begin = 0; begin < tokens; begin += size) yield { begin, end: Math.min(begin + size, tokens) };
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
  held: readonly N[] = [];
  private readonly blocks: RowBlocks<N>;
  private readonly generator: Generator<Tap<Handle<N>>, Handle<N>, void>;
  private result: Handle<N> | null = null;
  private step = 0;

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
    const next = this.generator.next();
    if (next.done) throw new Error("a forward pass ended before a tap that its plan has");
    this.tap = next.value.name;
    this.value = next.value.value.node!;
    this.held = [this.value, ...(next.value.keep ?? []).map((handle) => handle.node!)];
    return this.side.plan.steps[this.step++]!.flops;
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

/** Values of a tap, wherever they are. */
interface TapValues {
  readonly size: number;
  read(begin: number, end: number): Promise<Values>;
}

const tapOf = <N extends Node>(backend: Backend<N>, value: N): TapValues => ({
  size: elementCount(value.shape),
  read: (begin, end) => backend.readback(value, begin, end),
});

const recordedTap = (values: Values): TapValues => ({
  size: values.length,
  read: async (begin, end) => values.subarray(begin, end),
});

/** All values, read back in blocks as for a comparison. */
async function copyOf({ size, read }: TapValues): Promise<Values> {
  const first = await read(0, Math.min(TAP_BLOCK, size));
  if (size <= TAP_BLOCK) return first;
  const values = first instanceof Float64Array ? new Float64Array(size) : new Float32Array(size);
  values.set(first);
  for (let begin = TAP_BLOCK; begin < size; begin += TAP_BLOCK) {
    values.set(await read(begin, Math.min(begin + TAP_BLOCK, size)), begin);
  }
  return values;
}

/** Of two values of the same shape, the first being the reference. */
async function relativeRms(reference: TapValues, candidate: TapValues): Promise<number> {
  const { size } = reference;
  if (size !== candidate.size) return Number.POSITIVE_INFINITY;
  let [difference, total] = [0, 0];
  for (let begin = 0; begin < size; begin += TAP_BLOCK) {
    const end = Math.min(begin + TAP_BLOCK, size);
    const r = await reference.read(begin, end);
    const x = await candidate.read(begin, end);
    for (let i = 0; i < r.length; i++) {
      difference += (x[i]! - r[i]!) ** 2;
      total += r[i]! ** 2;
    }
  }
  return difference === 0 ? 0 : Math.sqrt(difference / total);
}
