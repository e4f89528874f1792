// Forward passes of the sides of a parity run, and their logits compared.
import type { Backend } from "../../numerics/backend.ts";
import { type ForwardObserver, runForwards, type TapComparison } from "../../numerics/driver.ts";
import type { Forward } from "../../numerics/graph.ts";
import { LogitComparison } from "../../numerics/metrics.ts";
import type { ForwardPlan } from "../../numerics/shapes/plan.ts";
import { InputError } from "../errors.ts";
import { type NextTokens, nextTokens } from "./next-tokens.ts";
import { checkGolden, type Golden } from "./parity-golden.ts";
import { LogitFile } from "./parity-logits.ts";
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
  readonly nextTokens: NextTokens;
}

/** One checkpoint against another, or against a golden, on given token ids. */
export class Contest {
  /** Index of what the other is measured against: the golden, else the HF side, else the first. */
  readonly reference: 0 | 1;

  constructor(
    readonly sides: readonly SideWeights[],
    private readonly golden: Golden | null,
    private readonly ids: readonly number[],
  ) {
    const [a, b] = sides;
    this.reference = golden !== null || (b?.layout === "hf" && a?.layout !== "hf") ? 1 : 0;
  }

  /** What the passes need, from shapes alone. @throws InputError where they do not fit the weights or each other */
  plan(forwards: readonly Forward[]): readonly ForwardPlan[] {
    const plans = this.sides.map((side, i) => side.plan(forwards[i]!, this.ids));
    const [vocab, other] = plans.map((plan) => plan.logits[1]!);
    if (this.golden) checkGolden(this.golden, this.ids, vocab!);
    if (other === undefined || other === vocab) return plans;
    throw new InputError("VOCAB_MISMATCH", "the two sides have vocabularies of different sizes", {
      file: this.sides[1]!.path,
      expected: `${vocab} logits`,
      found: `${other} logits`,
      help: "cut padded rows off the embedding and the head, and set vocab_size in the config",
    });
  }

  async run(backend: Backend, forwards: readonly Forward[], options: ForwardOptions): Promise<ForwardOutcome> {
    const plans = this.plan(forwards);
    const vocab = plans[0]!.logits[1]!;
    const comparison = new LogitComparison(this.ids, vocab);
    const taps: TapComparison[] = [];
    let next: NextTokens = { a: [], b: [] };
    const file = options.saveLogits === undefined ? null : new LogitFile(options.saveLogits, this.ids, vocab);
    const observer: ForwardObserver = {
      tap: (tap) => taps.push(tap),
      logits: (first, [a, second]) => {
        const b = second ?? this.golden!.rows(first, first + a!.length / vocab);
        comparison.add(this.reference === 0 ? a! : b, this.reference === 0 ? b : a!);
        file?.write(first, a!, b);
        if (first + a!.length / vocab === this.ids.length) {
          next = { a: nextTokens(a!.subarray(-vocab)), b: nextTokens(b.subarray(-vocab)) };
        }
      },
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
      await runForwards(backend, sides, { ids_T: this.ids }, observer, this.reference);
      file?.finish();
    } catch (error) {
      file?.discard();
      throw error;
    }
    if (sides.length > 1) taps.push({ tap: "logits", relativeRms: comparison.relativeRms() });
    return { comparison, taps, plans, nextTokens: next };
  }
}
