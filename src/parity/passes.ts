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
import { flopsOf, planOf, sum, worstTaps } from "./pass-plans.ts";
import { Recording } from "./recording.ts";
import { compareChoices, type RoutingComparison } from "./routing.ts";
import { type Chosen, chosenIn, type PassChoice } from "./seen/chosen.ts";
import { hfPlans } from "./seen/hf-plans.ts";
import type { SideWeights } from "./side.ts";
import type { RecordedTaps } from "./verdict/limits.ts";

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
    if (this.of.golden) checkGolden(this.of.golden, this.inputs[0]!.ids_T, plans[0]!);
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

  /** Types of the hidden states that the golden has; null where it has none. */
  get goldenTaps(): RecordedTaps {
    const { taps } = this.of.golden ?? {};
    return taps === undefined || taps.size === 0 ? null : taps.isNarrow ? "narrow" : "wide";
  }

  /** A golden that was computed in a narrow type, and what that type alone makes of its logits; null where there is none. */
  get goldenRounding(): GoldenRounding | null {
    const { rounding } = this.of.golden ?? {};
    return rounding ? { type: rounding.type, klMeanNats: rounding.klMeanNats } : null;
  }

  /** The golden, and the input that it is of; null where there is none. */
  get goldenRun(): { readonly golden: Golden; readonly input: ForwardInput } | null {
    const { golden } = this.of;
    return golden && { golden, input: this.inputs[0]! };
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
    return this.runSides(backend, { forwards: this.forwards, running: this.all, recordings: this.recordings }, options);
  }

  /**
   * The same comparison with other forward passes. The reference runs again only where its pass is another, or where no
   * recording was kept.
   * @throws InputError where a pass does not fit the side's weights
   */
  runAgain(backend: Backend, forwards: readonly Forward[], options: ForwardOptions): Promise<ForwardOutcome> {
    const { reference, recordings } = this;
    const isRecorded = recordings !== null && forwards[reference] === this.forwards[reference];
    const running = isRecorded ? this.all.filter((at) => at !== reference) : this.all;
    return this.runSides(backend, { forwards, running, recordings: isRecorded ? recordings : null }, options);
  }

  /** The same inputs for other sides. */
  having(sides: readonly SideWeights[], forwards: readonly Forward[]): Passes {
    return new Passes({ ...this.of, sides, forwards });
  }

  private get all(): readonly number[] {
    return [...this.sides.keys()];
  }

  private async runSides(
    backend: Backend,
    { forwards, running, recordings }: Running,
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
        const recording = recordings?.[i] ?? null;
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
    const recorded = isRecorded ? recording.taps : this.goldenTaps === null ? undefined : this.of.golden?.taps;
    await runForwards(backend, sides, input, observer, { reference, pinned: this.of.pinned, recorded });
    return { taps, routing, choices, nextTokens: next };
  }
}

interface Running {
  readonly forwards: readonly Forward[];
  /** Indices of the sides that run; of the others there is a golden or a recording. */
  readonly running: readonly number[];
  /** Of the reference on each input: filled where it runs. */
  readonly recordings: readonly Recording[] | null;
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

/** @param before FLOPs of the inputs before this one; the driver counts anew for each */
function progressOf({ signal, onProgress }: ForwardOptions, before: number, total: number) {
  return ({ tap, flops }: { readonly tap: string; readonly flops: number }): void => {
    signal?.throwIfAborted();
    onProgress?.({ label: tap, done: before + flops, total, unit: "FLOP" });
  };
}
