// Forward passes of the sides of a parity run, and their logits compared.
import type { Backend } from "../../numerics/backend.ts";
import { type ForwardObserver, flopsBetween, runForwards } from "../../numerics/driver.ts";
import type { Forward, ForwardInput } from "../../numerics/graph.ts";
import { LogitComparison } from "../../numerics/metrics.ts";
import type { ForwardPlan } from "../../numerics/shapes/plan.ts";
import type { MeasuredTap } from "../../numerics/tap-sums.ts";
import { InputError } from "../base/errors.ts";
import { LogitFile } from "../output/logits.ts";
import {
  type ForwardOptions,
  type ForwardOutcome,
  type Pass,
  type PassWork,
  progressOf,
  type RoutingOfInput,
  type Running,
} from "./forward/outcome.ts";
import { checkGolden, type Golden, type GoldenRounding } from "./inputs/golden.ts";
import type { ResolvedInputs } from "./inputs/resolved.ts";
import { type NextTokens, nextTokens } from "./next-tokens.ts";
import { measureNoise, type NoiseFloor, type NoiseSide, noiseFlops } from "./noise.ts";
import { type Cut, uncut } from "./parts/cut.ts";
import { planOf, sum, worstTaps } from "./pass-plans.ts";
import { Recording } from "./recording.ts";
import { compareChoices, countedOf, usedIn } from "./routing.ts";
import { chosenIn, type PassChoice } from "./seen/chosen.ts";
import { hfPlans } from "./seen/hf-plans.ts";
import type { SideWeights } from "./side.ts";
import type { RecordedTaps } from "./verdict/limits.ts";

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
  /** Where this is a part of a run: what of it, and the passes of all of it. Then `inputs` are those of the part. */
  readonly part?: { readonly cut: Cut; readonly whole: Passes } | undefined;
}

/** Forward passes of one checkpoint beside another on given inputs, or beside a golden. */
export class Passes {
  /** Index of what the other is measured against: the golden, else the HF side, else the first. */
  readonly reference: 0 | 1;
  readonly sides: readonly SideWeights[];
  readonly forwards: readonly Forward[];
  private readonly inputs: readonly ForwardInput[];
  private readonly cut: Cut;
  /** Recordings of the reference on each input; null where the reference runs anew each time. */
  private recordings: readonly Recording[] | null = null;

  constructor(private readonly of: PassesOf) {
    this.sides = of.sides;
    this.forwards = of.forwards;
    this.inputs = of.inputs.map(({ input }) => input);
    this.cut = of.part?.cut ?? uncut(of.inputs);
    const [a, b] = of.sides;
    this.reference = of.golden !== null || (b?.layout.side === "hf" && a?.layout.side !== "hf") ? 1 : 0;
  }

  /** All of the run that this is a part of. */
  get whole(): Passes {
    return this.of.part?.whole ?? this;
  }

  /** @param inputs those of the part, cut as it says */
  part(inputs: readonly ResolvedInputs[], cut: Cut): Passes {
    return new Passes({ ...this.of, inputs, part: { cut, whole: this } });
  }

  /** FLOPs of what is run. */
  flops(plans: readonly ForwardPlan[]): number {
    return sum(plans.map((plan) => flopsBetween(plan, this.cut.restart)));
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
    if (this.of.golden && this.of.part === undefined) checkGolden(this.of.golden, this.inputs[0]!.ids_T, plans[0]!);
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

  /** The golden, and the input that it is of; null where there is none, and in a part of a run. */
  get goldenRun(): { readonly golden: Golden; readonly input: ForwardInput } | null {
    const { golden, part } = this.of;
    return part === undefined ? golden && { golden, input: this.inputs[0]! } : null;
  }

  /** What rounding made of each row that was run, in nats, beside a golden of a narrow type; else null. */
  get roundedRows(): Float64Array | null {
    return this.of.golden?.rounding?.klNats ?? null;
  }

  get isByLayers(): boolean {
    return this.cut.restart !== undefined;
  }

  /** What rounding alone makes of the reference, or of the only side, on the longest input. @param onFlops with those done */
  noise(backend: Backend, onFlops: (flops: number) => void): Promise<NoiseFloor | null> {
    return measureNoise(backend, this.noiseSide, this.longest, { onFlops, ...this.noiseOf });
  }

  get noiseFlops(): number {
    return noiseFlops(this.noiseSide, this.longest, this.noiseOf.restart);
  }

  private get noiseOf() {
    const { restart } = this.cut;
    const { golden } = this.of;
    if (!restart || !golden) return {};
    const from = [...golden.taps.keys()].at(-1) ?? null;
    return { restart: { from, to: null }, recorded: golden.taps };
  }

  get images(): number {
    return sum(this.inputs.map(({ images }) => images?.grids.length ?? 0));
  }

  /** The plans of one side, on each input. */
  ofSide(plans: readonly ForwardPlan[], at: 0 | 1): readonly ForwardPlan[] {
    return this.byInput(plans).map((sides) => sides[at]!);
  }

  private get longest(): ForwardInput {
    if (this.whole !== this) return this.whole.longest;
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
    const { ids, starts, range } = this.cut;
    const comparison = new LogitComparison(ids, vocab, starts, range);
    this.of.golden?.rounding?.begin(range);
    const file = options.saveLogits === undefined ? null : new LogitFile(options.saveLogits, ids, vocab, starts);
    // At once: the step under way may take long, and whoever stops the run need not wait for it.
    signal?.addEventListener("abort", () => file?.discard(), { once: true });
    const plansOf = this.byInput(plans).map((sides) => running.map((at) => sides[at]!));
    const total = this.flops(plansOf.flat());
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
          at: i,
          comparison,
          file,
          progress,
          recording,
          signal,
        };
        passes.push(await this.pass(backend, work));
        done += this.flops(own);
      }
      file?.finish();
    } catch (error) {
      file?.discard();
      throw error;
    }
    const measured = passes.map(({ taps }, i) => ({ prompt: this.cut.inputs[i]!.prompt, taps }));
    const taps = worstTaps(passes.map((pass) => pass.taps));
    if (this.sides.length > 1) taps.push({ tap: "logits", relativeRms: comparison.relativeRms() });
    return {
      comparison,
      taps,
      measured,
      plans,
      routing: passes.flatMap((pass) => pass.routing),
      chosen: chosenIn(passes.flatMap((pass) => pass.choices)),
      nextTokens: passes.at(-1)!.nextTokens,
    };
  }

  /** The sides that run, on one input. */
  private async pass(backend: Backend, work: PassWork): Promise<Pass> {
    const { input, running, plans, forwards, at, comparison, file, progress, recording, signal } = work;
    const { reference } = this;
    const { prompt, start, counted } = this.cut.inputs[at]!;
    const isRecorded = recording !== null && !running.includes(reference);
    const routing: RoutingOfInput[] = [];
    const choices: PassChoice[] = [];
    const taps: MeasuredTap[] = [];
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
        file?.write(start + first, a, b);
        if (end === input.ids_T.length) {
          next = { a: nextTokens(a.subarray(-vocab)), b: nextTokens(b.subarray(-vocab)) };
        }
      },
      routing: (name, made) => {
        const own = made.map((choice) => countedOf(choice, counted));
        routing.push({ prompt, compared: compareChoices(name, own), used: usedIn(own[0]!) });
        choices.push({ name, experts: own.map(({ experts }) => experts) });
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
    const { restart } = this.cut;
    await runForwards(backend, sides, input, observer, {
      reference,
      pinned: this.of.pinned,
      recorded,
      counted,
      restart,
    });
    return { taps, routing, choices, nextTokens: next };
  }
}
