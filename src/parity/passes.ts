// Forward passes of the sides of a parity run, and their logits compared.
import type { Backend } from "../../numerics/backend.ts";
import { type ForwardObserver, runForwards, type TapComparison } from "../../numerics/driver.ts";
import type { Forward, ForwardInput } from "../../numerics/graph.ts";
import { LogitComparison } from "../../numerics/metrics.ts";
import type { ForwardPlan } from "../../numerics/shapes/plan.ts";
import { InputError } from "../base/errors.ts";
import { LogitFile } from "../output/logits.ts";
import { checkGolden, type Golden, type GoldenRounding } from "./inputs/golden.ts";
import type { ResolvedInputs } from "./inputs/resolved.ts";
import { type NextTokens, nextTokens } from "./next-tokens.ts";
import { measureNoise, type NoiseFloor, type NoiseSide, noiseFlops } from "./noise.ts";
import { Recording } from "./recording.ts";
import { compareChoices, type RoutingComparison } from "./routing.ts";
import { type Chosen, chosenIn, type PassChoice } from "./seen/chosen.ts";
import { hfPlans } from "./seen/hf-plans.ts";
import type { SideWeights } from "./side.ts";

export interface ForwardOptions {
  /** Path for the logits that the metrics are computed from. */
  readonly saveLogits?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((event: ForwardProgress) => void) | undefined;
}

export interface ForwardProgress {
  readonly label: string;
  readonly done: number;
  readonly total: number;
  /** Bytes, of weights that are compared, unless given. */
  readonly unit?: "FLOP";
}

export interface ForwardOutcome {
  readonly comparison: LogitComparison;
  /** Of two sides, the logits as the last tap. */
  readonly taps: readonly TapComparison[];
  /** Of the sides on the first input, then on the second, … */
  readonly plans: readonly ForwardPlan[];
  readonly routing: readonly RoutingComparison[];
  /** Experts that some token of some input chose, of each side that ran. */
  readonly chosen: Chosen;
  /** Behind the last input. */
  readonly nextTokens: NextTokens;
}

export interface PassesOf {
  /** Two checkpoints, or one and a golden. */
  readonly sides: readonly SideWeights[];
  /** The pass of each side. */
  readonly forwards: readonly Forward[];
  readonly golden: Golden | null;
  readonly inputs: readonly ResolvedInputs[];
  /**
   * In a vision-language model, an input with images: it and `inputs` together read every tensor that any input reads.
   */
  readonly everyModality: ForwardInput | null;
  /** Whether the second side takes the experts that the first one chose. */
  readonly pinned: boolean;
}

/** Forward passes of one checkpoint beside another on given inputs, or beside a golden. */
export class Passes {
  /** Index of what the other is measured against: the golden, else the HF side, else the first. */
  readonly reference: 0 | 1;
  readonly sides: readonly SideWeights[];
  readonly forwards: readonly Forward[];
  private readonly inputs: readonly ForwardInput[];
  /** Recordings of the reference on each input; null where the reference runs anew each time. */
  private recordings: readonly Recording[] | null = null;

  constructor(private readonly of: PassesOf) {
    this.sides = of.sides;
    this.forwards = of.forwards;
    this.inputs = of.inputs.map(({ input }) => input);
    const [a, b] = of.sides;
    this.reference = of.golden !== null || (b?.layout.side === "hf" && a?.layout.side !== "hf") ? 1 : 0;
  }

  /**
   * What the passes need, from shapes alone: of the sides on the first input, then on the second, …
   * @throws InputError where they do not fit the weights or each other
   */
  plan(forwards: readonly Forward[]): readonly ForwardPlan[] {
    const plans = this.of.inputs.flatMap((resolved, i) =>
      this.sides.map((side, s) => planOf(side, forwards[s]!, resolved, this.inputs.length > 1 ? i : null)),
    );
    const [vocab, other] = plans.slice(0, this.sides.length).map((plan) => plan.logits[1]!);
    if (this.of.golden) checkGolden(this.of.golden, this.inputs[0]!.ids_T, vocab!);
    if (other === undefined || other === vocab) return plans;
    throw new InputError("VOCAB_MISMATCH", "the two sides have vocabularies of different sizes", {
      file: this.sides[1]!.path,
      expected: `${vocab} logits`,
      found: `${other} logits`,
      help: "cut padded rows off the embedding and the head, and set vocab_size in the config",
    });
  }

  /** The plans of each input. */
  byInput(plans: readonly ForwardPlan[]): readonly (readonly ForwardPlan[])[] {
    const sides = this.sides.length;
    return this.inputs.map((_, i) => plans.slice(i * sides, (i + 1) * sides));
  }

  /** Keys of tensors that no step reads, whatever the input. */
  unused(plans: readonly ForwardPlan[]): string[] {
    const other = this.of.everyModality;
    return this.sides.flatMap((side, i) => {
      const unread = this.unread(plans, i);
      if (unread.length === 0 || other === null) return unread;
      const elsewhere = new Set(side.unused(side.plan(this.forwards[i]!, other)));
      return unread.filter((key) => elsewhere.has(key));
    });
  }

  /** Keys of tensors that these inputs leave out and others would not. */
  unexercised(plans: readonly ForwardPlan[]): string[] {
    const never = new Set(this.unused(plans));
    return this.sides.flatMap((_, i) => this.unread(plans, i)).filter((key) => !never.has(key));
  }

  /** Keys of tensors of side `at` that none of the inputs reads. */
  private unread(plans: readonly ForwardPlan[], at: number): string[] {
    const [first = [], ...rest] = this.byInput(plans).map((sides) => this.sides[at]!.unused(sides[at]!));
    return first.filter((key) => rest.every((keys) => keys.includes(key)));
  }

  /** Plans of Hugging Face's forward pass on each input; null where it has none for these tensors. */
  hfPlans(): readonly ForwardPlan[] | null {
    return hfPlans(this.noiseSide.weights.view, this.inputs);
  }

  /** Tokens of the longest input. */
  get tokens(): number {
    return this.longest.ids_T.length;
  }

  /** A golden that was computed in a narrow type, and what that type alone makes of its logits; null where there is none. */
  get goldenRounding(): GoldenRounding | null {
    const { rounding } = this.of.golden ?? {};
    return rounding ? { type: rounding.type, klMeanNats: rounding.klMeanNats } : null;
  }

  /** What rounding alone makes of the reference, or of the only side, on the longest input. @param onFlops with those done */
  noise(backend: Backend, onFlops: (flops: number) => void): Promise<NoiseFloor | null> {
    return measureNoise(backend, this.noiseSide, this.longest, onFlops);
  }

  get noiseFlops(): number {
    return noiseFlops(this.noiseSide, this.longest);
  }

  get images(): number {
    return sum(this.inputs.map(({ images }) => images?.grids.length ?? 0));
  }

  /** The plans of one side, on each input. */
  ofSide(plans: readonly ForwardPlan[], at: 0 | 1): readonly ForwardPlan[] {
    return this.byInput(plans).map((sides) => sides[at]!);
  }

  private get longest(): ForwardInput {
    return this.inputs.reduce((a, b) => (b.ids_T.length > a.ids_T.length ? b : a));
  }

  private get noiseSide(): NoiseSide {
    const at = this.of.golden === null ? this.reference : 0;
    return { weights: this.sides[at]!, forward: this.forwards[at]!, at };
  }

  /** Keeps what the reference's pass leaves behind, so that `runAgain` need not run it. @param plans of `forwards` */
  keepReference(plans: readonly ForwardPlan[]): void {
    this.recordings = this.byInput(plans).map((sides) => new Recording(sides[this.reference]!));
  }

  run(backend: Backend, options: ForwardOptions): Promise<ForwardOutcome> {
    return this.runSides(backend, this.forwards, [...this.sides.keys()], options);
  }

  /**
   * The same comparison with another forward pass of the measured side. The reference runs again only where no
   * recording was kept.
   * @throws InputError where the pass does not fit the side's weights
   */
  runAgain(backend: Backend, candidate: Forward, options: ForwardOptions): Promise<ForwardOutcome> {
    const at = this.sides.length > 1 ? 1 - this.reference : 0;
    const running = this.recordings === null ? [...this.sides.keys()] : [at];
    return this.runSides(backend, this.forwards.with(at, candidate), running, options);
  }

  /** @param running indices of the sides that run; of the others there is a golden or a recording */
  private async runSides(
    backend: Backend,
    forwards: readonly Forward[],
    running: readonly number[],
    options: ForwardOptions,
  ): Promise<ForwardOutcome> {
    const { signal } = options;
    const plans = this.plan(forwards);
    const vocab = plans[0]!.logits[1]!;
    const ids = this.inputs.flatMap(({ ids_T }) => ids_T);
    const starts = this.inputs.map((_, i) => sum(this.inputs.slice(0, i).map(({ ids_T }) => ids_T.length)));
    const comparison = new LogitComparison(ids, vocab, starts);
    const file = options.saveLogits === undefined ? null : new LogitFile(options.saveLogits, ids, vocab, starts);
    // At once: the step under way may take long, and whoever stops the run need not wait for it.
    signal?.addEventListener("abort", () => file?.discard(), { once: true });
    const plansOf = this.byInput(plans).map((sides) => running.map((at) => sides[at]!));
    const total = flopsOf(plansOf.flat());
    const passes: Pass[] = [];
    try {
      let done = 0;
      for (const [i, own] of plansOf.entries()) {
        const progress = progressOf(options, done, total);
        const input = this.inputs[i]!;
        const recording = this.recordings?.[i] ?? null;
        const work = {
          input,
          running,
          plans: own,
          forwards,
          begin: starts[i]!,
          comparison,
          file,
          progress,
          recording,
          signal,
        };
        passes.push(await this.pass(backend, work));
        done += flopsOf(own);
      }
      file?.finish();
    } catch (error) {
      file?.discard();
      throw error;
    }
    const taps = worstTaps(passes.map((pass) => pass.taps));
    if (this.sides.length > 1) taps.push({ tap: "logits", relativeRms: comparison.relativeRms() });
    const routing = passes.flatMap((pass) => pass.routing);
    return {
      comparison,
      taps,
      plans,
      routing,
      chosen: chosenIn(passes.flatMap((pass) => pass.choices)),
      nextTokens: passes.at(-1)!.nextTokens,
    };
  }

  /** The sides that run, on one input. */
  private async pass(backend: Backend, work: PassWork): Promise<Pass> {
    const { input, running, plans, forwards, begin, comparison, file, progress, recording, signal } = work;
    const { reference } = this;
    const isRecorded = recording !== null && !running.includes(reference);
    const routing: RoutingComparison[] = [];
    const choices: PassChoice[] = [];
    const taps: TapComparison[] = [];
    let next: NextTokens = { a: [], b: [] };
    const observer: ForwardObserver = {
      tap: (tap) => taps.push(tap),
      ...(recording && !isRecorded ? { record: (tap, values) => recording.taps.set(tap, values) } : {}),
      logits: (first, blocks) => {
        const vocab = plans[0]!.logits[1]!;
        const end = first + blocks[0]!.length / vocab;
        const of = (side: number) => blocks[running.indexOf(side)] ?? (recording ?? this.of.golden!).rows(first, end);
        const [a, b] = [of(0), of(1)];
        if (!isRecorded) recording?.addLogits(first, reference === 0 ? a : b);
        comparison.add(reference === 0 ? a : b, reference === 0 ? b : a);
        this.of.golden?.rounding?.add(first, end, a);
        signal?.throwIfAborted();
        file?.write(begin + first, a, b);
        if (end === input.ids_T.length) {
          next = { a: nextTokens(a.subarray(-vocab)), b: nextTokens(b.subarray(-vocab)) };
        }
      },
      routing: (name, made) => {
        routing.push(compareChoices(name, made));
        choices.push({ name, experts: made.map(({ experts }) => experts) });
      },
      progress,
    };
    const sides = running.map((at, i) => ({
      forward: forwards[at]!,
      plan: plans[i]!,
      weight: (key: string) => this.sides[at]!.weight(key),
      has: (key: string) => this.sides[at]!.has(key),
    }));
    const recorded = isRecorded ? { recorded: recording.taps } : {};
    await runForwards(backend, sides, input, observer, { reference, pinned: this.of.pinned, ...recorded });
    return { taps, routing, choices, nextTokens: next };
  }
}

/** @throws InputError ID_OUT_OF_RANGE, naming the file of the ids, and of several inputs which */
function planOf(
  side: SideWeights,
  forward: Forward,
  { input, about }: ResolvedInputs,
  which: number | null,
): ForwardPlan {
  try {
    return side.plan(forward, input);
  } catch (error) {
    if (!(error instanceof InputError) || error.code !== "ID_OUT_OF_RANGE") throw error;
    const message = which === null ? error.message : `input ${which + 1}: ${error.message}`;
    const file = about.kind === "prompt" ? side.path : (about.source ?? side.path);
    throw new InputError(error.code, message, { ...error.details, file });
  }
}

interface PassWork {
  readonly input: ForwardInput;
  /** Indices of the sides that run, and the plan of each. */
  readonly running: readonly number[];
  readonly plans: readonly ForwardPlan[];
  /** Of the reference, filled where it runs. */
  readonly recording: Recording | null;
  readonly forwards: readonly Forward[];
  /** Row of the input's first logits among those of all inputs. */
  readonly begin: number;
  readonly comparison: LogitComparison;
  readonly file: LogitFile | null;
  readonly progress: NonNullable<ForwardObserver["progress"]>;
  readonly signal: AbortSignal | undefined;
}

interface Pass extends Pick<ForwardOutcome, "taps" | "routing" | "nextTokens"> {
  readonly choices: readonly PassChoice[];
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

export const flopsOf = (plans: readonly ForwardPlan[]): number => sum(plans.map(({ flops }) => flops));

/** @param before FLOPs of the inputs before this one; the driver counts anew for each */
function progressOf({ signal, onProgress }: ForwardOptions, before: number, total: number) {
  return ({ tap, flops }: { readonly tap: string; readonly flops: number }): void => {
    signal?.throwIfAborted();
    onProgress?.({ label: tap, done: before + flops, total, unit: "FLOP" });
  };
}

/** Each tap with its largest error over the inputs, in the order of the input that has most taps. */
function worstTaps(inputs: readonly (readonly TapComparison[])[]): TapComparison[] {
  const longest = inputs.reduce((a, b) => (b.length > a.length ? b : a));
  return longest.map(({ tap }) => {
    const errors = inputs.flatMap((taps) => taps.filter((other) => other.tap === tap));
    return { tap, relativeRms: errors.reduce((most, { relativeRms: x }) => Math.max(most, x), 0) };
  });
}
