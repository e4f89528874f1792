// Further runs of a parity that did not come out even, each with something changed on one side or on both.
import type { TapComparison } from "../../../numerics/driver.ts";
import type { Forward } from "../../../numerics/graph.ts";
import type { LogitRows } from "../../../numerics/logit-rows.ts";
import type { Metrics } from "../../../numerics/metrics.ts";
import { InputError } from "../../base/errors.ts";
import { bound, type Family } from "../../family/family.ts";
import type { Layout } from "../../family/layout.ts";
import { inOneType } from "../casts.ts";
import type { InputTaps } from "../pass-plans.ts";
import type { Passes } from "../passes.ts";
import type { SideWeights } from "../side.ts";
import type { PassReads } from "./evidence.ts";
import type { Trial } from "./trial.ts";

/** What a run showed. */
export interface Rerun {
  readonly metrics: Metrics;
  readonly taps: readonly TapComparison[];
  /** Of the passes that it ran: a step with something undone may read other tensors. */
  readonly plans: readonly PassReads[];
}

/** A run of this machine, and all that it measured. */
export interface MeasuredRun extends Rerun {
  readonly rows: LogitRows;
  readonly measured: readonly InputTaps[];
}

/** What is changed; known upstream differences are always undone. */
export interface Setting {
  /** The config of each side, and the versions of upstream. */
  readonly families?: readonly Family[];
  /** Whether each tensor is run in the narrower of its two types, on both sides. */
  readonly inOneType?: boolean;
}

export class Laboratory {
  private rounded: readonly SideWeights[] | undefined;

  constructor(private readonly trial: Trial) {}

  /** The config of each side. */
  get families(): readonly Family[] {
    return this.trial.sides.map(({ family }) => family);
  }

  /** Both sides with each tensor in the narrower of its two types. */
  get inOneType(): readonly SideWeights[] {
    const { sides, passes } = this.trial;
    this.rounded ??= inOneType(sides, passes.sides);
    return this.rounded;
  }

  /** Null where the weights do not fit such a config, or nothing computes it. */
  async run({ families = this.families, inOneType = false }: Setting): Promise<Rerun | null> {
    try {
      const forwards = families.map((family, side) => this.undone(family, side));
      const { passes } = this.trial;
      return await this.runOn(inOneType ? passes.having(this.inOneType, forwards) : passes, forwards);
    } catch (error) {
      if (error instanceof InputError) return null;
      throw error;
    }
  }

  /** What is known to differ upstream at the config of a side, by code. */
  knownAt(side: 0 | 1): readonly string[] {
    const family = this.families[side]!;
    const layouts = this.trial.sides.map(({ layout }) => bound(family, layout));
    if (!isBesideHf(layouts)) return [];
    return layouts.flatMap((each) => (each.side === "native" ? each.differences().map(({ code }) => code) : []));
  }

  /** Runs with another pass of the side that is measured. */
  async measuredAs(forward: Forward): Promise<MeasuredRun> {
    const { passes } = this.trial;
    const measured = passes.sides.length === 1 ? 0 : 1 - passes.reference;
    return await this.runOn(passes, passes.forwards.with(measured, forward));
  }

  /** One side beside itself with its tensors in the narrower types: what the cast alone does. */
  async castOf(side: 0 | 1): Promise<Rerun> {
    const { passes } = this.trial;
    const forwards = [passes.forwards[side]!, passes.forwards[side]!];
    return await this.runOn(passes.having([passes.sides[side]!, this.inOneType[side]!], forwards), forwards);
  }

  private async runOn(passes: Passes, forwards: readonly Forward[]): Promise<MeasuredRun> {
    const { options, backend } = this.trial;
    const { signal, onProgress } = options;
    const { comparison, taps, measured, plans } = await passes.runAgain(backend, forwards, { signal, onProgress });
    const rows = comparison.rows();
    return { metrics: rows.metrics(), taps, plans, rows, measured };
  }

  /** The pass of a side at another config, as transformers computes it. */
  private undone(family: Family, side: number): Forward {
    const { sides, passes } = this.trial;
    const { layout } = sides[side]!;
    const isOwn = family === sides[side]!.family;
    const undone = isBesideHf(sides.map((each) => each.layout)) ? allUndone(bound(family, layout)) : null;
    return undone ?? (isOwn ? passes.forwards[side]! : bound(family, layout).forward());
  }
}

const allUndone = (layout: Layout): Forward | null =>
  layout.side === "native" ? (layout.differences().at(-1)?.undone ?? null) : null;

/** Whether one side alone is native. Two native sides share what is known to differ; HF sides have nothing of it. */
export const isBesideHf = (layouts: readonly Layout[]): boolean =>
  layouts.filter(({ side }) => side === "native").length === 1;
