// Forward passes of the sides of a parity run, and their logits compared.
import type { Backend } from "../../numerics/backend.ts";
import { type ForwardObserver, runForwards, type TapComparison } from "../../numerics/driver.ts";
import type { Forward, ForwardInput } from "../../numerics/graph.ts";
import { LogitComparison } from "../../numerics/metrics.ts";
import type { ForwardPlan } from "../../numerics/shapes/plan.ts";
import { InputError } from "../errors.ts";
import { type NextTokens, nextTokens } from "./next-tokens.ts";
import { checkGolden, type Golden } from "./parity-golden.ts";
import { LogitFile } from "./parity-logits.ts";
import { measureNoise, type NoiseFloor, type NoiseSide, noiseFlops } from "./parity-noise.ts";
import { compareChoices, type RoutingComparison } from "./parity-routing.ts";
import type { SideWeights } from "./parity-side.ts";

export interface ForwardOptions {
  /** Path for the logits that the metrics are computed from. */
  readonly saveLogits?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `done` and `total` in FLOPs. */
  readonly onProgress?: ((event: { label: string; done: number; total: number }) => void) | undefined;
}

export interface ForwardOutcome {
  readonly comparison: LogitComparison;
  /** Of two sides, the logits as the last tap. */
  readonly taps: readonly TapComparison[];
  readonly plans: readonly ForwardPlan[];
  readonly routing: readonly RoutingComparison[];
  readonly nextTokens: NextTokens;
}

/** One checkpoint against another, or against a golden, on a given input. */
export class Contest {
  /** Index of what the other is measured against: the golden, else the HF side, else the first. */
  readonly reference: 0 | 1;

  constructor(
    readonly sides: readonly SideWeights[],
    private readonly forwards: readonly Forward[],
    private readonly golden: Golden | null,
    private readonly input: ForwardInput,
    private readonly pinned: boolean,
  ) {
    const [a, b] = sides;
    this.reference = golden !== null || (b?.layout === "hf" && a?.layout !== "hf") ? 1 : 0;
  }

  /** What the passes need, from shapes alone. @throws InputError where they do not fit the weights or each other */
  plan(forwards: readonly Forward[]): readonly ForwardPlan[] {
    const plans = this.sides.map((side, i) => side.plan(forwards[i]!, this.input));
    const [vocab, other] = plans.map((plan) => plan.logits[1]!);
    if (this.golden) checkGolden(this.golden, this.input.ids_T, vocab!);
    if (other === undefined || other === vocab) return plans;
    throw new InputError("VOCAB_MISMATCH", "the two sides have vocabularies of different sizes", {
      file: this.sides[1]!.path,
      expected: `${vocab} logits`,
      found: `${other} logits`,
      help: "cut padded rows off the embedding and the head, and set vocab_size in the config",
    });
  }

  /** Keys of tensors that no step reads, whatever the input. @param other an input of all modalities */
  unused(plans: readonly ForwardPlan[], other: ForwardInput | null): string[] {
    return this.sides.flatMap((side, i) => {
      const unread = side.unused(plans[i]!);
      if (unread.length === 0 || other === null) return unread;
      const elsewhere = new Set(side.unused(side.plan(this.forwards[i]!, other)));
      return unread.filter((key) => elsewhere.has(key));
    });
  }

  /** Keys of tensors that this input leaves out and `other` does not. */
  unexercised(plans: readonly ForwardPlan[], other: ForwardInput | null): string[] {
    const never = new Set(this.unused(plans, other));
    return this.sides.flatMap((side, i) => side.unused(plans[i]!)).filter((key) => !never.has(key));
  }

  /** What rounding alone makes of the reference, or of the only side. @param onFlops called with those done */
  noise(backend: Backend, onFlops: (flops: number) => void): Promise<NoiseFloor | null> {
    return measureNoise(backend, this.noiseSide, this.input, onFlops);
  }

  get noiseFlops(): number {
    return noiseFlops(this.noiseSide, this.input);
  }

  private get noiseSide(): NoiseSide {
    const at = this.golden === null ? this.reference : 0;
    return { weights: this.sides[at]!, forward: this.forwards[at]!, at };
  }

  async run(backend: Backend, forwards: readonly Forward[], options: ForwardOptions): Promise<ForwardOutcome> {
    const plans = this.plan(forwards);
    const vocab = plans[0]!.logits[1]!;
    const ids = this.input.ids_T;
    const comparison = new LogitComparison(ids, vocab);
    const routing: RoutingComparison[] = [];
    const taps: TapComparison[] = [];
    let next: NextTokens = { a: [], b: [] };
    const file = options.saveLogits === undefined ? null : new LogitFile(options.saveLogits, ids, vocab);
    const observer: ForwardObserver = {
      tap: (tap) => taps.push(tap),
      logits: (first, [a, second]) => {
        const b = second ?? this.golden!.rows(first, first + a!.length / vocab);
        comparison.add(this.reference === 0 ? a! : b, this.reference === 0 ? b : a!);
        file?.write(first, a!, b);
        if (first + a!.length / vocab === ids.length) {
          next = { a: nextTokens(a!.subarray(-vocab)), b: nextTokens(b.subarray(-vocab)) };
        }
      },
      routing: (name, choices) => routing.push(compareChoices(name, choices)),
      progress: ({ tap, flops, totalFlops }) => {
        options.signal?.throwIfAborted();
        options.onProgress?.({ label: tap, done: flops, total: totalFlops });
      },
    };
    const sides = this.sides.map((side, i) => ({
      forward: forwards[i]!,
      plan: plans[i]!,
      weight: (key: string) => side.weight(key),
      has: (key: string) => side.has(key),
    }));
    try {
      const { reference, pinned } = this;
      await runForwards(backend, sides, this.input, observer, { reference, pinned });
      file?.finish();
    } catch (error) {
      file?.discard();
      throw error;
    }
    if (sides.length > 1) taps.push({ tap: "logits", relativeRms: comparison.relativeRms() });
    return { comparison, taps, plans, routing, nextTokens: next };
  }
}
